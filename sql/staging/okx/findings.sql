-- grain: one record of OKX's that is understood and not yet valued, and why; key: all columns
select
  l.account,
  'bill' as source_kind,
  l.entry_id as source_id,
  null as instrument,
  'the ledger shows ' || l.instrument_type || ' trades' || coalesce(' of ' || l.instrument, '')
  || ': add "' || l.instrument_type || '" to instrument_types' as reason
from staging.okx_parsed_ledger l
anti join config.instrument_types t
  on t.account = l.account and t.instrument_type = l.instrument_type
where l.reason is null and l.kind in ('trade', 'penalty', 'exercise') and l.instrument_type is not null
union all by name
select
  l.account,
  'bill' as source_kind,
  l.entry_id as source_id,
  l.instrument,
  'the ledger shows an exercise that does not say what was held, or of an option that is not listed'
    as reason
from staging.okx_parsed_ledger l
anti join staging.okx_exercises x on x.account = l.account and x.fill_id = l.entry_id
where l.kind = 'exercise' and l.reason is null
union all by name
select
  account,
  'bill' as source_kind,
  entry_id as source_id,
  instrument,
  'ledger entry ' || entry_id || ' (' || currency || ') names ' || concat_ws(
    ' and ',
    case when instrument is null then 'no instId' end,
    case when not is_okx_trade(trade_id) then 'no tradeId' end
  ) || ': recon cannot tell which fill it belongs to' as reason
from staging.okx_parsed_ledger
where
  reason is null
  and kind in ('trade', 'penalty')
  and (instrument is null or not is_okx_trade(trade_id))
  and (kind = 'trade' or coalesce(pnl, 0) <> 0 or coalesce(fee, 0) <> 0)
union all by name
select
  account,
  'bill' as source_kind,
  entry_id as source_id,
  instrument,
  'a liquidation that moved no cash, neither of the account nor of the position' as reason
from staging.okx_parsed_ledger
where
  reason is null
  and kind = 'penalty' and bill_type in ('5', '9')
  and balance_change = 0 and coalesce(position_change, 0) = 0
  and (pnl <> 0 or fee <> 0)
union all by name
select
  l.account,
  'bill' as source_kind,
  l.entry_id as source_id,
  l.instrument,
  case
    when b.finding is null
      then 'the ledger shows an entry in ' || l.currency || ' of subType ' || l.sub_type || ', type '
      || l.bill_type || ', which is not known'
    else 'the ledger shows an entry in ' || l.currency || ' of type ' || l.bill_type || ', subType '
      || l.sub_type || ' (' || b.name || '), which recon does not compute: ' || b.finding
  end as reason
from staging.okx_parsed_ledger l
left join staging.okx_bill_types b on b.bill_type = l.bill_type and b.sub_type = l.sub_type
where l.kind = 'unknown' and l.reason is null
union all by name
select
  account,
  'fill' as source_kind,
  fill_id as source_id,
  instrument,
  'fill ' || fill_id || ' names no tradeId: recon cannot tell which entry of the ledger it belongs to'
    as reason
from staging.okx_parsed_fills
where reason is null and not is_okx_trade(trade_id)
union all by name
select
  account,
  'fill' as source_kind,
  fill_id as source_id,
  instrument,
  'fill ' || fill_id || ' has no fillPnl: what OKX says that it realised is not known' as reason
from staging.okx_parsed_fills
where reason is null and broker_pnl is null and instrument_kind not in ('spot', 'margin')
union all by name
-- In multi-currency and portfolio mode (acctLv 3 and 4) a coin that is borrowed is a balance below 0,
-- and its trades are those of spot. Elsewhere, and isolated, it is a position of its own.
select
  f.account,
  'fill' as source_kind,
  f.fill_id as source_id,
  f.instrument,
  'MARGIN trades of an account that is neither in multi-currency nor in portfolio mode (acctLv): what'
  || ' they borrow is a position of its own, which is not valued' as reason
from staging.okx_parsed_fills f
where
  f.instrument_kind = 'margin'
  and not exists (
    from raw.staged_records c
    where
      c.venue = 'okx' and c.account = f.account and c.kind = 'config'
      and c.payload ->> 'acctLv' in ('3', '4')
  )
union all by name
select
  r.account,
  r.kind as source_kind,
  r.id as source_id,
  r.payload ->> 'instId' as instrument,
  'OKX shows a MARGIN position of its own (isolated, or of an account in one currency): it is not valued'
    as reason
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
where
  r.venue = 'okx'
  and r.payload ->> 'instType' = 'MARGIN'
  and (
    r.kind = 'position' and coalesce(exact(r.payload ->> 'pos') <> 0, true)
    or r.kind = 'position-history' and coalesce(utc_ms(r.payload ->> 'uTime') >= a.window_start, true)
  )
