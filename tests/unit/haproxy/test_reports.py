from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import Malformed, Refused
from nodegate.haproxy import reports
from nodegate.model import Server, ServerState, ServerTraffic

INFO = "Name: HAProxy\nVersion: 2.8.25-5cf\nPid: 42\nUptime_sec: 7\nStopping: 0\ndescription: nodegate:abc: d\n\n"

STATE_HEAD = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state "
    "srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port "
    "srv_check_addr srv_agent_addr srv_agent_port\n"
)
STAT_HEAD = "# pxname,svname,scur,slim,stot,econ,eresp,wredis,type,last_chk,cookie,mode,\n"


def state_row(
    name: str = "n", address: str = "192.0.2.1", operational: int = 2, administrative: int = 0
) -> str:
    return f"3 pool_main 1 {name} {address} {operational} {administrative} 7 1 1 8 2 0 6 0 0 0 - 14265 - 0 0 - - 0\n"


def stat_row(name: str = "n", limit: str = "", cookie: str = "plain", note: str = "") -> str:
    return f"pool_main,{name},2,{limit},30,1,2,3,2,{note},{cookie},http,\n"


FRONTEND = "clients,FRONTEND,5,4000,9,,,,0,,,http,\n"
BACKEND = "pool_main,BACKEND,5,4000,9,0,0,0,1,,,http,\n"


def servers(state: str, stat: str) -> dict[str, Server]:
    found, _ = reports.read_servers(STATE_HEAD + state, STAT_HEAD + FRONTEND + stat + BACKEND)
    return {name: server for (_, name), server in found.items()}


def test_a_server_is_put_together_from_both_reports() -> None:
    found, traffic = reports.read_servers(STATE_HEAD + state_row(), STAT_HEAD + stat_row(limit="5"))
    assert found == {
        ("pool_main", "n"): Server(
            backend="pool_main", name="n", address="192.0.2.1", port=14265, weight=7,
            state=ServerState.READY, maxconn=5, sessions=2,
        )
    }  # fmt: skip
    assert traffic == {("pool_main", "n"): ServerTraffic(requests=30, errors=6, sessions=2)}


def test_a_free_number_is_above_all_that_are_in_use() -> None:
    rows = [
        state_row("a"),
        state_row("b").replace(" 1 b ", " 17 b "),
        state_row("c").replace(" 1 c ", " 5 c "),
    ]
    assert reports.free_number(STATE_HEAD + "".join(rows)) == 18
    assert reports.free_number(STATE_HEAD) == 1


@pytest.mark.parametrize(
    ("bits", "state"),
    [
        (0x00, ServerState.READY),
        (0x01, ServerState.MAINT),
        (0x04, ServerState.READY),
        (0x0C, ServerState.DRAIN),
        (0x05, ServerState.MAINT),
        (0x08, ServerState.DRAIN),
        (0x10, ServerState.DRAIN),
        (0x09, ServerState.MAINT),
        (0x20, ServerState.MAINT),
        (0x40, ServerState.MAINT),
    ],
)
def test_administrative_bits_are_states(bits: int, state: ServerState) -> None:
    assert servers(state_row(administrative=bits), stat_row())["n"].state is state


def test_only_a_server_that_should_serve_can_be_marked_down() -> None:
    assert servers(state_row(operational=0), stat_row())["n"].marked_down
    assert not servers(state_row(operational=0, administrative=1), stat_row())["n"].marked_down
    assert not servers(state_row(operational=2), stat_row())["n"].marked_down


def test_traits_and_quoted_cells_are_read() -> None:
    found = servers(state_row(), stat_row(cookie="verify/a.example", note='"said ""no"", twice"'))["n"]
    assert (found.tls, found.verify, found.sni) == (True, True, "a.example")


def test_a_server_in_one_report_only_is_left_for_the_next_look() -> None:
    assert servers(state_row("a") + state_row("b"), stat_row("b") + stat_row("c")).keys() == {"b"}


@pytest.mark.parametrize(
    ("state", "stat"),
    [
        ("2\n# be_name\n", STAT_HEAD),
        (STATE_HEAD + "3 pool_main\n", STAT_HEAD),
        (STATE_HEAD.replace("srv_port", "port"), STAT_HEAD),
        (STATE_HEAD + state_row(), "# pxname,svname\n"),
        (STATE_HEAD + state_row(), STAT_HEAD + "pool_main,n,2\n"),
        (STATE_HEAD + state_row(), STAT_HEAD + stat_row(limit="many")),
        (STATE_HEAD + state_row(), STAT_HEAD + stat_row(cookie="JSESSIONID")),
        (STATE_HEAD + state_row(), STAT_HEAD + 'pool_main,"n,2\n'),
        ("", ""),
    ],
)
def test_odd_reports_are_malformed(state: str, stat: str) -> None:
    with pytest.raises(Malformed):
        reports.read_servers(state, stat)


def test_an_error_instead_of_a_report_is_a_refusal() -> None:
    with pytest.raises(Refused, match="Permission denied"):
        reports.read_servers("[3]: Permission denied\n", STAT_HEAD)


def test_sessions_of_servers_are_summed_without_those_of_frontends() -> None:
    assert reports.read_sessions(STAT_HEAD + FRONTEND + stat_row("a") + stat_row("b") + BACKEND) == 4


def test_info_is_read() -> None:
    assert reports.read_info(INFO) == reports.Info(
        pid=42, uptime=7.0, version="2.8.25-5cf", description="nodegate:abc: d", stopping=False
    )
    with pytest.raises(Malformed):
        reports.read_info(INFO.replace("Pid: 42", "Pid: x"))
    with pytest.raises(Malformed):
        reports.read_info("")


PROCESSES = (
    "#<PID>          <type>          <reloads>       <uptime>        <version>      \n"
    "7666            master          1 [failed: 0]   0d00h00m02s     2.8.25-5cf\n"
    "# workers\n"
    "7669            worker          0               0d00h00m02s     2.8.25-5cf\n"
    "# old workers\n"
    "7000            worker          1               0d00h01m02s     2.8.25-5cf\n"
    "7001            worker          2               0d00h02m02s     2.8.25-5cf\n"
    "# programs\n\n"
)


def test_processes_are_read() -> None:
    assert reports.read_processes(PROCESSES) == reports.Processes(
        master=7666, workers=(7669,), old_workers=(7000, 7001)
    )
    with pytest.raises(Malformed, match="no master"):
        reports.read_processes("# workers\n")


def test_a_reload_says_whether_it_worked() -> None:
    assert reports.read_reload("Success=1\n--\n[NOTICE] Loading success.\n\n") == "[NOTICE] Loading success."
    with pytest.raises(Refused, match="unknown keyword"):
        reports.read_reload("Success=0\n--\n[ALERT] unknown keyword\n\n")
    with pytest.raises(Malformed):
        reports.read_reload("")


def test_a_map_is_read() -> None:
    assert reports.read_map("0x1f /evm/ evm/1\n0x2f / main/0\n\n") == {"/evm/": "evm/1", "/": "main/0"}
    with pytest.raises(Malformed):
        reports.read_map("nonsense\n")
    with pytest.raises(Refused):
        reports.read_map("[3]: Unknown map identifier. Please use #<id> or <file>.\n")


READERS: tuple[Callable[[str], object], ...] = (
    reports.read_info,
    reports.read_processes,
    reports.read_reload,
    reports.read_map,
    reports.read_sessions,
    lambda text: reports.read_servers(text, STAT_HEAD + stat_row()),
    lambda text: reports.read_servers(STATE_HEAD + state_row(), text),
    lambda text: reports.read_servers(STATE_HEAD + text, STAT_HEAD + stat_row()),
    lambda text: reports.read_servers(STATE_HEAD + state_row(), STAT_HEAD + text),
    reports.free_number,
)


@given(
    st.one_of(
        st.binary().map(lambda data: data.decode(errors="replace")),
        st.text(st.sampled_from('1n2,\n "#-pool_main'), max_size=80),
        st.tuples(
            st.sampled_from([INFO, PROCESSES, STATE_HEAD, STAT_HEAD, stat_row(), state_row()]),
            st.integers(0, 200),
        ).map(lambda cut: cut[0][: cut[1]]),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_malformed_or_refused(text: str) -> None:
    for read in READERS:
        try:
            read(text)
        except (Malformed, Refused):
            continue
