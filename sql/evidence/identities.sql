-- grain: one thing that a venue once said of itself, and that must not change; key: all columns
-- replaces: (k.account, k.kind, k.id, k.identity) in (select account, kind, id, identity from staging.identities)
from staging.identities
