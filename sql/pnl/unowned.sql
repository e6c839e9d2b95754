-- grain: one fill that nobody owns, and that no person has said is no bot's; key: account, fill_id
-- `is_order_missing`: the record of its order may say whose it is, and is not there.
-- replaces: exists (from affected.lots t where t.account = k.account and t.instrument = k.instrument and k.session_date >= t.from_session)
select account, instrument, event_id as fill_id, order_id, "at", session_date, is_order_missing
from affected.events
where is_unowned
