"""The connection to a cloud, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nodegate.errors import Malformed, NotFound, Refused, Unavailable

if TYPE_CHECKING:
    from openstack.connection import Connection

INSTALL = 'this command needs openstacksdk: pip install "nodegate[openstack]"'


def connect(cloud: str | None) -> Connection:
    """A connection by clouds.yaml (`cloud`, or OS_CLOUD) or by the OS_* variables. Nothing is asked yet.

    Raises Unavailable when openstacksdk is not installed, NotFound for a cloud that clouds.yaml does not
    name, Refused when there are no credentials at all.
    """
    try:
        import openstack
        from openstack import exceptions
    except ImportError as error:
        raise Unavailable(INSTALL) from error
    try:
        with in_words():
            return openstack.connect(cloud=cloud, app_name="nodegate")
    except exceptions.ConfigException as error:
        if cloud is not None:
            raise NotFound(f"cloud {cloud!r}: {error}") from error
        raise Refused(
            f"no credentials ({error}); name a cloud of clouds.yaml with --cloud, or set the OS_* variables"
        ) from error


@contextmanager
def in_words() -> Iterator[None]:
    """Turns what openstacksdk and keystoneauth raise into nodegate's errors. Needs openstacksdk."""
    from keystoneauth1 import exceptions as auth
    from openstack import exceptions

    try:
        yield
    except (auth.MissingRequiredOptions, auth.MissingAuthPlugin) as error:
        raise Refused(
            f"no credentials ({error}); name a cloud of clouds.yaml with --cloud, or set the OS_* variables"
        ) from error
    except (auth.Unauthorized, auth.AuthorizationFailure) as error:
        raise Refused(f"the cloud does not accept these credentials: {error}") from error
    except exceptions.ForbiddenException as error:
        raise Refused(f"these credentials may not do that: {error}") from error
    except (auth.DiscoveryFailure, auth.ConnectionError, auth.EndpointNotFound) as error:
        raise Unavailable(f"the cloud does not answer: {error}") from error
    except exceptions.NotFoundException as error:
        raise NotFound(str(error)) from error
    except exceptions.ConfigException:
        raise
    except exceptions.HttpException as error:
        raise Unavailable(f"the cloud answered with an error: {error}") from error
    except (exceptions.SDKException, auth.ClientException) as error:
        raise Malformed(f"the cloud cannot be used: {error}") from error
