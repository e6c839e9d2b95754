-- grain: one thing that the statements lack, and the numbers need; key: all columns
-- Each names the field, the section or the box to tick. Some are needed whatever happens. Others are
-- needed for what an account's bots are configured to be, or where positions do not add up: then what
-- is lacking may be why, and nobody can say that a fill is missing. The positions that do not add up
-- are named each; all else concerns all of the account.
with lacking as (
  select distinct m.account, m.section, m.field, m.box, m.needed_of
  from evidence.missing m
  join config.accounts a on a.account = m.account
  where coalesce(m.session_date <= a.last_date, true)
),

-- The sessions of the window of which the statements tell.
told as (
  select s.account, s.has_actions, s.has_transfers, d.session_date
  from staging.flex_statements s
  join config.accounts a on a.account = s.account
  join config.sessions d
    on d.account = s.account and d.session_date between s.from_date and s.to_date
    and d.session_date between a.first_date and a.last_date
),

absent as (
  select account, section
  from (
    select account, session_date, bool_or(has_actions) as has_actions, bool_or(has_transfers) as has_transfers
    from told
    group by account, session_date
  )
  cross join unnest([
    case when not has_actions then 'Corporate Actions' end,
    case when not has_transfers then 'Transfers' end
  ]) as t (section)
  where section is not null
  group by account, section
),

-- Positions that do not add up, and of which no finding says why.
differing as (
  select p.account, p.instrument, p.filled_qty, p.statement_qty
  from proofs.positions p
  anti join evidence.findings f on f.account = p.account and f.instrument = p.instrument
),

-- What may be why, where no fill is missing.
doubtful as (
  select account, 'the section ' || section || ' is not in the statements' as what from absent
  union all
  select account, field || ' is missing in rows of the section ' || section || ' (tick ' || box || ')'
  from lacking
  where needed_of = 'positions'
  union all
  -- IBKR numbers each execution, and no order, lot or summary.
  select distinct account, 'executions in the section Trades have no Transaction ID: by their Level of Detail'
    || ' they may be orders or lots (tick Executions alone)'
  from evidence.fills
  where source_kind = 'Trade' and starts_with(source_id, 'sha256:')
  union all
  select account, 'the section Open Positions has several rows of ' || instrument || ' at the Level of Detail '
    || level || ' (tick Summary alone)'
  from staging.flex_parsed_positions
  where reason is null and not is_restated
  group by account, instrument, level
  having count(*) > 1
),

unexplained as (
  select d.account, string_agg(d.what, '; ' order by d.what) as what
  from doubtful d
  semi join config.accounts a on a.account = d.account
  semi join differing p on p.account = d.account
  group by d.account
),

silent as (
  select account, min(session_date) as first_date, max(session_date) as last_date
  from told
  anti join (
    select t.account, t.session_date
    from told t
    join staging.flex_bases b
      on b.account = t.account and t.session_date between b.from_date and b.to_date
  ) using (account, session_date)
  group by account
)

select account, null as instrument,
  'the field ' || field || ' is missing in rows of the section ' || section || ': tick ' || box
  || ' there in the Flex query' as reason
from lacking
where needed_of not in ('positions', 'bots', 'tagged bots')
  or needed_of = 'bots' and account in (select account from config.bots)
  or needed_of = 'tagged bots' and account in (select account from config.bots where order_tag is not null)
union
select account, null,
  'no statement says what the base currency was from ' || first_date || ' to ' || last_date
  || ': tick Currency in the Flex query''s section Account Information'
from silent
union
select account, null, 'positions do not add up, and it is not known why: ' || what
from unexplained
union
select p.account, p.instrument,
  'its fills add up to ' || plain(p.filled_qty) || ', and the statement says ' || plain(p.statement_qty)
from differing p
semi join unexplained u on u.account = p.account
union
-- What sums up executions of several days is of no day, and stands in each night.
select r.account, null,
  'a row of level ' || (r.payload::json ->> 'levelOfDetail') || ' came of '
  || coalesce(nullif(trim(r.payload::json ->> 'symbol'), ''), 'an asset class')
  || ', and not one execution of it: tick Executions in the Flex query''s section Trades'
from raw.latest_state r
semi join (from config.accounts where venue = 'ibkr-flex') a on a.account = r.account
where r.venue = 'ibkr-flex' and r.kind in ('Order', 'Lot', 'SymbolSummary', 'AssetSummary', 'WashSale')
  and not exists (
    from evidence.stated_pnl e
    where e.account = r.account
      and coalesce(trim(r.payload::json ->> 'symbol'), '') in ('', e.instrument)
  )
  and r.payload is not null
  and r.payload::json ->> 'assetCategory' <> 'CASH'
