-- grain: one thing at OKX that is understood and not yet valued; key: account, instrument, reason
select distinct
  l.account,
  l.instrument,
  'the ledger shows ' || l.instrument_type || ' trades: add "' || l.instrument_type
  || '" to instrument_types' as reason
from staging.okx_parsed_ledger l
anti join config.instrument_types t
  on t.account = l.account and t.instrument_type = l.instrument_type
where l.kind in ('trade', 'penalty') and l.instrument_type is not null
union all by name
select distinct
  account,
  instrument,
  'the ledger shows a ' || kind || ' (type ' || bill_type || '), which is not valued yet' as reason
from staging.okx_parsed_ledger
where kind in ('settlement', 'conversion')
union all by name
select
  account,
  coalesce(instrument, currency) as instrument,
  'ledger entry ' || entry_id || ' is of a trade that it does not name: no fill can be held against it'
    as reason
from staging.okx_parsed_ledger
where
  reason is null
  and kind in ('trade', 'penalty')
  and (instrument is null or coalesce(trade_id, '0') = '0')
  and (kind = 'trade' or coalesce(exact(pnl), 0) <> 0 or coalesce(exact(fee), 0) <> 0)
union all by name
select distinct
  account,
  instrument,
  'a liquidation that moved no cash of the account: isolated ones are not valued yet' as reason
from staging.okx_parsed_ledger
where
  reason is null
  and bill_type in ('5', '9')
  and exact(balance_change) = 0
  and (exact(pnl) <> 0 or exact(fee) <> 0)
union all by name
select distinct
  account,
  coalesce(instrument, currency) as instrument,
  'the ledger shows an entry of type ' || coalesce(bill_type, '(none)') || ', which is not known' as reason
from staging.okx_parsed_ledger
where kind = 'unknown'
union all by name
select
  r.account,
  null as instrument,
  'the key belongs to another OKX account than before (uid ' || string_agg(distinct r.payload::json ->> 'uid', ', ')
  || '): give that account an [[accounts]] entry of its own' as reason
from raw.records r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.venue = 'okx' and r.kind = 'config' and r.payload is not null
group by r.account
having count(distinct r.payload::json ->> 'uid') > 1
union all by name
select distinct account, instrument, 'MARGIN trades are not valued yet' as reason
from staging.okx_parsed_fills
where instrument_kind = 'margin'
union all by name
select
  r.account,
  r.id as instrument,
  'its contract value has changed: fills before and after are not told apart yet' as reason
from raw.records r
join config.accounts a on a.venue = r.venue and a.account = r.account
semi join staging.okx_parsed_fills f on f.account = r.account and f.instrument = r.id
where r.venue = 'okx' and r.kind = 'instrument' and r.payload is not null
group by r.account, r.id
having count(distinct (
  exact(r.payload::json ->> 'ctVal'), coalesce(exact(r.payload::json ->> 'ctMult'), 1)
)) > 1
