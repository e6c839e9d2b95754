-- grain: what a cash report says of a kind of movement, of every night; key: account, source_id, kind
-- replaces: (k.account, 'CashReportCurrency', k.source_id) in (select account, kind, id from raw.restaged)
from staging.flex_cash_reports
