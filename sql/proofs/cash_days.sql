-- grain: how much cash of a currency a kind of movement moved on a day; key: account, day, currency, kind
-- `in_base` is null where a rate is not known.
-- let: cash_from = select coalesce(min(day), date '9999-12-31') from changed.cash_moves
-- replaces: (k.account, k.day) in (from changed.cash_moves)
select
  m.account,
  m.day,
  m.currency,
  m.kind,
  whole_sum(m.amount) as amount,
  whole_sum(
    case
      when m.rate = 1 then m.amount
      when m.amount = 0 then 0
      else try_cast(
        try_cast(m.amount as decimal(19, 9)) * try_cast(m.rate as decimal(19, 9)) as decimal(38, 18)
      )
    end
  ) as in_base,
  count(*) as moves
from evidence.cash_moves m
semi join changed.cash_moves c on c.account = m.account and c.day = m.day
where m.day >= getvariable('cash_from')
group by m.account, m.day, m.currency, m.kind
