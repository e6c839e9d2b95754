-- grain: one execution that TWS and the statement tell differently; key: account, family
-- Only in sessions that a statement covers; empty where the proof closes. `is_missed`: the statement
-- has it, and TWS was not asked in that stretch of time: no contradiction, but a hole in what TWS
-- told. Both sides are matched by IBKR's execution id but for its correction.
-- let: confirmed_from = select min(a.first_date) - 1 from config.tws t join config.accounts a on a.account = t.account where t.confirmed_by is not null
with told as (
  select execution_family(f.fill_id) as family, f.*
  from evidence.fills f
  join config.tws t on t.account = f.account
  where t.confirmed_by is not null and f.session_date >= getvariable('confirmed_from')
),

stated as (
  select
    t.account,
    coalesce(x.family, 'Flex ' || f.fill_id) as family,
    bool_or(x.family is null) as is_nameless,
    count(*) as fills,
    max(x.exec_id) as exec_id,
    min(f.at) as at,
    min(f.session_date) as session_date,
    min(coalesce(c.instrument, n.instrument, f.instrument)) as instrument,
    whole_sum(f.qty) as qty,
    min(f.price) as price,
    min(f.multiplier) as multiplier,
    min(f.currency) as currency,
    whole_sum(f.fee) as fee,
    min(f.fee_currency) as fee_currency
  from evidence.fills f
  join config.tws t on t.confirmed_by = f.account
  left join evidence.executions x
    on x.account = f.account and x.source_kind = f.source_kind and x.source_id = f.source_id
  -- The TWS account may know a newer symbol already.
  left join config.conids o on o.account = f.account and o.instrument = f.instrument
  left join config.conids c on c.account = t.account and c.conid = o.conid
  left join config.names n
    on n.account = t.account and n.symbol = f.instrument
    and f.session_date >= n.from_day and f.session_date < n.until_day
  where f.session_date >= getvariable('confirmed_from')
  group by t.account, coalesce(x.family, 'Flex ' || f.fill_id)
),

-- What stands in a statement, and in none of its fills: a trade that it has cancelled.
cancelled as (
  select distinct t.account, x.family
  from evidence.executions x
  join config.tws t on t.confirmed_by = x.account
),

asked as (
  select distinct s.account, s.family
  from stated s
  join raw.coverage c on c.venue = 'ibkr-tws' and c.account = s.account
  where
    c.kind = 'execution' and c.status <> 'failed'
    and c.served_from <= s.at and s.at < c.served_to
),

paired as (
  select
    coalesce(t.account, s.account) as account,
    coalesce(t.family, s.family) as family,
    t.account is not null as is_told,
    s.account is not null as is_stated,
    t as told,
    s as stated
  from told t
  full join stated s on s.account = t.account and s.family = t.family
),

compared as (
  select
    p.account,
    p.family,
    coalesce(p.told.fill_id, p.stated.exec_id, p.family) as exec_id,
    coalesce(p.told.instrument, p.stated.instrument) as instrument,
    p.told.session_date as told_date,
    p.stated.session_date as stated_date,
    not p.is_told and a.family is null as is_missed,
    case
      when not p.is_stated and c.family is not null then 'the statement has cancelled it'
      when not p.is_stated then 'the statement does not have it'
      when p.stated.is_nameless
        then 'the statement does not name it: add the field IB Exec ID to the Flex query'
      when not p.is_told then 'only the statement has it'
      when p.stated.fills > 1 then 'the statement has it ' || p.stated.fills || ' times'
      when (p.told.instrument is distinct from p.stated.instrument)
        then 'the statement says ' || p.stated.instrument
      when (p.told.qty is distinct from p.stated.qty) then 'another quantity'
      when (p.told.price is distinct from p.stated.price) then 'another price'
      when (p.told.multiplier is distinct from p.stated.multiplier) then 'another multiplier'
      when (p.told.currency is distinct from p.stated.currency)
        then 'the statement says ' || p.stated.currency
      when (p.told.fee is distinct from p.stated.fee) then 'another commission'
      when p.told.fee <> 0 and (p.told.fee_currency is distinct from p.stated.fee_currency)
        then 'the commission is in another currency'
      when (p.told.session_date is distinct from p.stated.session_date)
        then 'the statement has it in session ' || p.stated.session_date
    end as place,
    coalesce(p.told.qty, 0) - coalesce(p.stated.qty, 0) as qty_difference,
    p.told.price - p.stated.price as price_difference,
    p.told.multiplier - p.stated.multiplier as multiplier_difference,
    p.told.fee - p.stated.fee as fee_difference
  from paired p
  left join cancelled c on c.account = p.account and c.family = p.family
  left join asked a on a.account = p.account and a.family = p.family
)

select
  c.account,
  c.exec_id,
  c.instrument,
  c.is_missed,
  c.place,
  coalesce(
    case c.place
      when 'another price' then c.price_difference
      when 'another multiplier' then c.multiplier_difference
      when 'another commission' then c.fee_difference
      else c.qty_difference
    end,
    0
  )::decimal(38, 18) as difference
from compared c
where
  c.place is not null
  and exists (
    from proofs.confirmed_sessions s
    where s.account = c.account and s.is_covered and s.session_date in (c.told_date, c.stated_date)
  )
