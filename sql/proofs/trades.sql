-- grain: one trade that fills and ledger do not tell alike; key: account, instrument, trade_id
-- A fill of a contract is one entry: the same fee and realised PnL, size and price, at the same
-- time. A fill of spot is two, one a currency; of the coin it moved what was traded, before the fee
-- or after it. The venue works PnL out in floats, so of it eight places are held. What the ledger
-- leaves blank it does not contradict. A repeated fill finds no second entry.
with filled as (
  select
    f.account,
    f.instrument,
    f.trade_id,
    bool_or(f.instrument_kind in ('spot', 'margin')) as is_spot,
    any_value(f.currency) as currency,
    any_value(f.fill_id) as fill_id,
    count(*) as fills,
    sum(f.fee) as fee,
    sum(coalesce(f.broker_pnl, 0)) as pnl,
    sum(abs(f.qty)) as qty,
    sum(f.qty) as coin,
    sum(f.qty + case when f.fee_currency = f.base_currency then f.fee else 0 end) as coin_left,
    min(f.price) as price,
    min(f.at) as filled_at
  from staging.fills f
  join config.accounts a on a.account = f.account
  where f.session_date >= a.first_date
  group by f.account, f.instrument, f.trade_id
),

moved as (
  select
    l.account,
    l.instrument,
    l.trade_id,
    any_value(l.currency) as currency,
    any_value(l.entry_id) as entry_id,
    any_value(l.kind) as kind,
    count(*) as entries,
    sum(l.balance_change) as amount,
    sum(l.fee) as fee,
    sum(coalesce(l.broker_pnl, 0)) as pnl,
    sum(l.size_qty) as qty,
    sum(l.balance_change) filter (l.currency = split_part(l.instrument, '-', 1)) as coin,
    min(l.price) as price,
    min(l.at) as moved_at
  from staging.ledger l
  join config.accounts a on a.account = l.account
  where l.session_date >= a.first_date and l.kind in ('trade', 'penalty') and l.instrument is not null
    and l.trade_id is not null and l.trade_id <> '0'
  group by l.account, l.instrument, l.trade_id
),

told as (
  select
    coalesce(f.account, m.account) as account,
    coalesce(f.instrument, m.instrument) as instrument,
    coalesce(f.trade_id, m.trade_id) as trade_id,
    coalesce(f.currency, m.currency) as currency,
    case
      when m.account is null
        then 'fill ' || f.fill_id || ' (' || f.instrument || ') moved no cash in the ledger'
      when f.account is null
        then 'ledger entry ' || m.entry_id || ' (' || m.instrument || ') has no fill'
      when f.is_spot and coalesce(m.coin, 0) not in (f.coin, f.coin_left)
        then 'fill ' || f.fill_id || ' says another size than the ledger'
      when f.fills * case when f.is_spot then 2 else 1 end <> m.entries
        then f.fills || ' fills and ' || m.entries || ' ledger entries are trade ' || f.trade_id
        || ' of ' || f.instrument
      when f.is_spot then null
      when f.fee <> m.fee then 'fill ' || f.fill_id || ' says another fee than the ledger'
      when abs(f.pnl - m.pnl) > 0.00000001 then 'fill ' || f.fill_id || ' says another PnL than the ledger'
      when m.kind = 'trade' and f.qty <> m.qty
        then 'fill ' || f.fill_id || ' says another size than the ledger'
      when m.kind = 'trade' and f.price <> m.price
        then 'fill ' || f.fill_id || ' says another price than the ledger'
      when abs(epoch_ms(f.filled_at) - epoch_ms(m.moved_at)) > 60000
        then 'fill ' || f.fill_id || ' says another time than the ledger'
    end as place,
    case
      when m.account is null then f.fee + f.pnl
      when f.account is null then m.amount
      else f.fee + f.pnl - coalesce(m.fee, 0) - m.pnl
    end as difference
  from filled f
  full join moved m
    on m.account = f.account and m.instrument = f.instrument and m.trade_id = f.trade_id
)

select account, instrument, trade_id, currency, place, difference
from told
where place is not null
