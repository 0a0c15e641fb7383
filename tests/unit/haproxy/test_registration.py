"""The path that leads from the clients' listener to the registration page."""

from __future__ import annotations

import pytest

from nodegate.haproxy.registration import BACKEND, backend_choice, backends, frontend_lines
from nodegate.haproxy.reports import read_servers
from nodegate.settings import Settings


def portal(**table: object) -> Settings:
    return Settings.model_validate({"portal": {"public_url": "http://x.example", **table}})


@pytest.mark.parametrize("table", [{}, {"listen": "127.0.0.1:9790"}])
def test_without_a_path_haproxy_knows_nothing_of_it(table: dict[str, object]) -> None:
    settings = portal(**table)
    assert (frontend_lines(settings), backend_choice(settings), backends(settings)) == ((), (), ())


@pytest.mark.parametrize(
    ("listen", "place"),
    [("127.0.0.1:9790", "127.0.0.1:9790"), ("*:9790", "127.0.0.1:9790"), ("[::]:9790", "[::1]:9790")],
)
def test_the_path_and_all_below_it_lead_to_the_page_and_nothing_that_only_begins_so(
    listen: str, place: str
) -> None:
    settings = portal(listen=listen, path="/join")
    [choice] = backend_choice(settings)
    assert " ".join(choice) == "use_backend registration if { path /join } or { path_beg /join/ }"
    [backend] = backends(settings)
    assert place in backend.lines[-1]
    # No line of `server`: those of a backend are nodes, which come and go.
    assert {line[0] for line in backend.lines} == {"timeout", "retries", "server-template"}


def test_the_page_is_no_node_for_the_planner() -> None:
    states = (
        "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
        "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state "
        "srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port "
        "srv_check_addr srv_agent_addr srv_agent_port\n"
        f"3 {BACKEND} 1 page1 127.0.0.1 2 0 1 1 5 1 0 2 0 0 0 0 - 9790 - 0 0 - - 0\n"
        "4 pool_main 1 n1 192.0.2.1 2 0 1 1 5 1 0 2 0 0 0 0 - 14265 - 0 0 - - 0\n"
    )
    stat = (
        "# pxname,svname,type,scur,slim,stot,econ,eresp,wredis,cookie,\n"
        f"{BACKEND},page1,2,0,100,7,0,0,0,,\npool_main,n1,2,0,100,7,0,0,0,plain,\n"
    )
    assert list(read_servers(states, stat)[0]) == [("pool_main", "n1")]
