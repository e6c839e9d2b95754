-- grain: one record that is understood and not yet valued, of every night; key: all columns
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.restaged)
select distinct account, source_kind, source_id, session_date, instrument, reason
from staging.findings
