-- grain: one record of which IBKR says what it realised, or could have; key: account, source_kind, source_id
-- Every execution and its cancel, mergers for cash, and no conversion of money. `broker_pnl`
-- (fifoPnlRealized) is in the instrument's currency, commission of both legs included; null where
-- the statement does not say.
select
  account, kind as source_kind, id as source_id, session_date, instrument, currency,
  exact(broker_pnl_text) as broker_pnl
from staging.flex_parsed_fills
where verdict in ('fill', 'cancelled')
union all
select account, 'CorporateAction', id, session_date, instrument, currency, broker_pnl
from staging.flex_parsed_actions
where verdict = 'cash'
