from tests.object_store import _object_store as _object_store
from tests.object_store import object_store as object_store
from tests.postgres import postgres as postgres
