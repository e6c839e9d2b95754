-- grain: one trade that fills and ledger do not tell alike; key: account, instrument, trade_id, currency
-- A fill of a contract is one entry: the same fee and realised PnL, size and price, at the same
-- time; a liquidation may have its penalty as a second one. A fill of spot is two, one a currency,
-- which moved the coin and its value, before the fee or after it. The venue works PnL out in floats,
-- so of it eight places are held. What the ledger leaves blank it does not contradict. A repeated
-- fill finds no second entry. A trade of the minute before the window has its place there: only
-- what reaches into the window is told. A trade's parts are looked for within a day of each other.
-- Of a trade with an entry of an unknown kind nothing is said: that entry is a finding.
-- A difference is of one currency. Entries without a fill are one row for each of their currencies.
-- replaces: (k.account, k.instrument, k.trade_id) in (select account, instrument, trade_id from affected.trades)
-- let: trades_from = select coalesce(min(first_at), timestamp '9999-12-31') - interval 1 day from affected.trades
with filled as (
  select
    f.account,
    f.instrument,
    t.trade_id,
    bool_or(f.instrument_kind in ('spot', 'margin')) as is_spot,
    min(f.currency) as currency,
    min(f.fill_id) as fill_id,
    count(*) as fills,
    sum(f.fee) as fee,
    whole_sum(f.broker_pnl) as pnl,
    whole_sum(f.broker_pnl + case when f.fee_currency = f.currency then f.fee else 0 end) as cash,
    sum(abs(f.qty)) as qty,
    sum(f.qty) as coin,
    sum(f.qty + case when f.fee_currency = f.base_currency then f.fee else 0 end) as coin_left,
    whole_sum(-at_rate(f.qty, f.price)) as value,
    sum(case when f.fee_currency = f.currency then f.fee else 0 end) as value_fee,
    min(f.fee_currency) filter (
      f.fee_currency not in ('', f.currency, coalesce(f.base_currency, f.currency))
    ) as third_coin,
    min(f.price) as price,
    min(f.at) as filled_at
  from evidence.fills f
  join affected.trades t
    on t.account = f.account and t.instrument = f.instrument and t.trade_id = coalesce(f.trade_id, '')
  where
    f.at >= getvariable('trades_from')
    and f.at between t.first_at - interval 1 day and t.last_at + interval 1 day
    and f.source_kind <> 'bill'
  group by f.account, f.instrument, t.trade_id
),

entries as (
  select
    l.*,
    l.kind = 'penalty' and coalesce(l.broker_pnl, 0) = 0 and coalesce(l.fee, 0) = 0
      as is_penalty_alone,
    coalesce(l.currency = f.third_coin, false) as is_fee_alone,
    f.account is not null as has_fill
  from evidence.ledger l
  join affected.trades t
    on t.account = l.account and t.instrument = l.instrument and t.trade_id = l.trade_id
  left join filled f
    on f.account = l.account and f.instrument = l.instrument and f.trade_id = l.trade_id
  where
    l.at >= getvariable('trades_from')
    and l.at between t.first_at - interval 1 day and t.last_at + interval 1 day
    and l.kind in ('trade', 'penalty', 'unknown')
    and l.trade_id <> '0'
),

moved as (
  select
    e.account,
    e.instrument,
    e.trade_id,
    min(e.kind) as kind,
    bool_or(e.kind = 'unknown') as has_unknown,
    count(*) filter (not e.is_penalty_alone and not e.is_fee_alone) as entries,
    count(*) filter (e.is_fee_alone) as fees_alone,
    sum(e.balance_change) filter (e.is_fee_alone) as fee_alone,
    count(*) filter (e.is_penalty_alone) as penalties,
    sum(e.fee) as fee,
    whole_sum(e.broker_pnl) as pnl,
    sum(coalesce(e.broker_pnl, 0) + coalesce(e.fee, 0)) filter (not e.is_fee_alone) as cash,
    sum(e.size_qty) filter (not e.is_fee_alone) as qty,
    sum(e.balance_change) filter (e.currency = split_part(e.instrument, '-', 1)) as coin,
    sum(e.balance_change) filter (e.currency = split_part(e.instrument, '-', 2)) as value,
    min(e.price) as price,
    min(e.at) as moved_at
  from entries e
  where e.has_fill
  group by e.account, e.instrument, e.trade_id
),

told as (
  select
    f.account,
    f.instrument,
    f.trade_id,
    greatest(f.filled_at, m.moved_at) as told_at,
    coalesce(
      m.fees_alone > f.fills or f.third_coin is not null and coalesce(m.fee_alone, 0) <> f.fee, false
    ) as is_fee_alone_wrong,
    case when is_fee_alone_wrong then coalesce(f.third_coin, f.currency) else f.currency end as currency,
    case
      when m.has_unknown then null
      when m.account is null
        then 'fill ' || f.fill_id || ' (' || f.instrument || ') moved no cash in the ledger'
      when abs(epoch_ms(f.filled_at) - epoch_ms(m.moved_at)) > 60000
        then 'fill ' || f.fill_id || ' says another time than the ledger'
      when f.is_spot and m.entries <> 2 * f.fills
        or not f.is_spot and f.fills not between m.entries and m.entries + m.penalties
        then f.fills || ' fills and ' || m.entries || ' ledger entries are trade ' || f.trade_id
        || ' of ' || f.instrument
      when is_fee_alone_wrong
        then 'fill ' || f.fill_id || ' says another fee in ' || f.third_coin || ' than the ledger'
      when f.is_spot and coalesce(m.coin, 0) not in (f.coin, f.coin_left)
        then 'fill ' || f.fill_id || ' says another size than the ledger'
      when f.is_spot and not coalesce(
        abs(m.value - f.value) <= 0.00000001 or abs(m.value - f.value - f.value_fee) <= 0.00000001,
        false
      ) then 'fill ' || f.fill_id || ' says another price or fee than the ledger'
      when f.is_spot then null
      when f.fee <> m.fee then 'fill ' || f.fill_id || ' says another fee than the ledger'
      when abs(f.pnl - m.pnl) > 0.00000001
        then 'fill ' || f.fill_id || ' says another PnL than the ledger'
      when m.kind = 'trade' and f.qty <> m.qty
        then 'fill ' || f.fill_id || ' says another size than the ledger'
      when m.kind = 'trade' and f.price <> m.price
        then 'fill ' || f.fill_id || ' says another price than the ledger'
    end as place,
    case
      when m.account is null and f.is_spot then f.value + f.value_fee
      when m.account is null then f.cash
      when is_fee_alone_wrong then f.fee - coalesce(m.fee_alone, 0)
      when f.is_spot then f.value - m.value
      else f.cash - m.cash
    end as difference
  from filled f
  left join moved m
    on m.account = f.account and m.instrument = f.instrument and m.trade_id = f.trade_id
  union all by name
  select
    account,
    instrument,
    trade_id,
    currency,
    max("at") as told_at,
    case
      when bool_and(kind <> 'unknown')
        then 'ledger entry ' || min(entry_id) || ' (' || instrument || ') has no fill'
    end as place,
    sum(balance_change) as difference
  from entries
  where not has_fill
  group by account, instrument, trade_id, currency
)

select t.account, t.instrument, t.trade_id, t.currency, t.place, coalesce(t.difference, 0) as difference
from told t
join config.accounts a on a.account = t.account
where t.place is not null and t.told_at >= a.window_start
