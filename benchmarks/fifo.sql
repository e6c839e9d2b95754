-- grain: one session of one key; key: account, instrument, session_date
-- FIFO without a loop: the k-th unit bought always meets the k-th unit sold, through zero too. So
-- each side's quantities are added up, cut wherever a fill of either side ends, and each piece
-- looks up the buy and the sell that it is of. What closes it is the later of the two.
with filled as (
  select
    account, instrument, side, seq, session_date, price,
    sum(qty) over (partition by account, instrument, side order by seq) as upto_qty
  from fills
),

reached as (
  select account, instrument, min(upto_qty) as matched_qty
  from (
    select account, instrument, side, max(upto_qty) as upto_qty from filled group by all
  )
  group by all
  having count(*) = 2
),

cuts as (
  select f.account, f.instrument, f.upto_qty
  from filled f
  join reached b
    on b.account = f.account and b.instrument = f.instrument and f.upto_qty <= b.matched_qty
  group by all
),

pieces as (
  select
    account, instrument, upto_qty,
    upto_qty - lag(upto_qty, 1, 0::decimal(38, 8)) over (
      partition by account, instrument order by upto_qty
    ) as qty
  from cuts
)

select
  p.account,
  p.instrument,
  if(b.seq > s.seq, b.session_date, s.session_date) as session_date,
  sum(p.qty) as closed_qty,
  sum(p.qty * (s.price - b.price)::decimal(19, 8)) as gross
from pieces p
asof join (from filled where side = 'buy') b
  on b.account = p.account and b.instrument = p.instrument and p.upto_qty <= b.upto_qty
asof join (from filled where side = 'sell') s
  on s.account = p.account and s.instrument = p.instrument and p.upto_qty <= s.upto_qty
group by all
