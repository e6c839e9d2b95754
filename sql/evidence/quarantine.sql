-- grain: one record that cannot be read, of every night; key: account, kind, id
-- replaces: (k.account, k.kind, k.id) in (select account, kind, id from raw.restaged)
from staging.quarantine
