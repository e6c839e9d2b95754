-- grain: one bill as OKX gave it, with a reason where it cannot be read; key: account, entry_id
-- `kind` by OKX's own type and subtype. What a liquidation or an ADL takes beyond its fills' PnL and fee is a
-- penalty. An isolated position's funding moves the position's balance and not the account's, and so
-- does what it loses when it is liquidated. A future that is delivered is a fill of the system's, and
-- this is its entry; an option that is exercised or expires has its entry alone.
with rows as (
  select
    r.account,
    r.id,
    from_json(
      r.payload,
      '{"ts": "VARCHAR", "type": "VARCHAR", "ccy": "VARCHAR", "instId": "VARCHAR",
        "instType": "VARCHAR", "tradeId": "VARCHAR", "balChg": "VARCHAR", "bal": "VARCHAR",
        "posBalChg": "VARCHAR", "pnl": "VARCHAR", "fee": "VARCHAR", "sz": "VARCHAR",
        "px": "VARCHAR", "subType": "VARCHAR"}'
    ) as p,
    r.fetched_at,
    a.currency as account_currency
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  where r.venue = 'okx' and r.kind = 'bill'
),

texts as (
  select
    account,
    id as entry_id,
    utc_ms(p.ts) as "at",
    try_cast(id as hugeint) as seq,
    nullif(p.type, '') as bill_type,
    nullif(p.subType, '') as sub_type,
    nullif(p.ccy, '') as currency,
    nullif(p.instId, '') as instrument,
    nullif(p.instType, '') as instrument_type,
    nullif(p.tradeId, '') as trade_id,
    exact(p.balChg) as balance_change,
    exact(p.bal) as balance_after,
    exact(p.posBalChg) as position_change,
    exact(p.pnl) as pnl,
    exact(p.fee) as fee,
    exact(p.sz) as size,
    exact(p.px) as price,
    is_unreadable(p.posBalChg) as is_position_change_unreadable,
    is_unreadable(p.pnl) as is_pnl_unreadable,
    is_unreadable(p.fee) as is_fee_unreadable,
    fetched_at,
    account_currency
  from rows
),

rated as (
  select
    t.*,
    case when t.currency = t.account_currency then 1 else r.rate end::decimal(38, 18) as rate
  from texts t
  left join staging.okx_rates r
    on r.account = t.account and r.currency = t.currency
    and r.minute_at = date_trunc('minute', t.at)
)

select
  l.* exclude (
    fetched_at, is_position_change_unreadable, is_pnl_unreadable, is_fee_unreadable
  ),
  coalesce(b.kind, 'unknown') as kind,
  kind = 'trade' and coalesce(instrument_type, '') not in ('SPOT', 'MARGIN')
  or kind = 'penalty' and l.bill_type in ('5', '9') as is_of_contract,
  nullif(
    concat_ws(
      '; ',
      case when not is_okx_time("at", fetched_at) then 'ts is not a time at which OKX traded' end,
      case when seq is null then 'billId is not a number' end,
      case when l.bill_type is null then 'type is missing' end,
      case when l.sub_type is null then 'subType is missing' end,
      case when not is_okx_name(currency) then 'ccy is not a currency' end,
      case
        when instrument is not null and not is_okx_name(instrument) then 'instId is not an instrument'
        when instrument is null and kind = 'funding' then 'instId is missing, and the entry is a funding'
        when instrument is null and kind = 'penalty' and l.bill_type in ('5', '9')
          then 'instId is missing, and the entry is of a liquidation or an ADL'
      end,
      case
        when instrument_type not in ('SPOT', 'MARGIN', 'SWAP', 'FUTURES', 'OPTION', 'EVENTS')
          then 'instType is not known'
      end,
      case
        when trade_id is not null and trade_id <> '0' and not is_okx_trade(trade_id)
          then 'tradeId is not a number'
      end,
      case when balance_change is null then 'balChg is not an amount' end,
      case when balance_after is null then 'bal is not an amount' end,
      case when is_position_change_unreadable then 'posBalChg is unreadable' end,
      case
        when is_pnl_unreadable then 'pnl is unreadable'
        when pnl is null and is_of_contract then 'pnl is missing'
      end,
      case
        when is_fee_unreadable then 'fee is unreadable'
        when fee is null and is_of_contract then 'fee is missing'
      end,
      case
        when kind = 'funding' and balance_change = 0 and position_change is null
          then 'balChg is 0 and posBalChg is missing, and the entry is a funding'
      end
    ),
    ''
  ) as reason
from rated l
left join staging.okx_bill_types b on b.bill_type = l.bill_type and b.sub_type = l.sub_type
