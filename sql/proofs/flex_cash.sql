-- grain: one thing of an account's cash that is compared: a currency's chain of balances, or what a
-- kind of movement moved, by our rows and by IBKR's word; key: account, name, place
-- Three witnesses, each where the statements have it. The *statement of funds*: each line's balance
-- follows from the one before, from day to day, too, and its lines by kind and day are our trades,
-- fees and entries. The *cash report*: by kind, and ending − starting, which is what the statement of
-- funds moved, too. *ChangeInNAV*: by kind, in the base currency. Futures and CFDs are settled daily,
-- and no row of ours says by how much: that alone is taken as stated. `difference` is ours − theirs. IBKR's figures have nine decimals: a millionth an
-- entry is the bound, and a cent where amounts are converted at a day's rate.
with chains as (
  select
    account,
    currency,
    is_in_base,
    breaks,
    day,
    statement_id,
    first_break,
    balance_before - lag(balance_after) over days as gap
  from (select distinct on (account, currency, is_in_base, day) * from proofs.funds_days)
  window days as (partition by account, currency, is_in_base order by day)
),

chain as (
  select
    account,
    currency,
    sum(breaks) as breaks,
    min(case when breaks > 0 then day end) as broken_day,
    -- Amounts in the base currency are translated anew by each statement.
    count(*) filter (not is_in_base and abs(gap) > 0.00000001) as gaps,
    sum(case when not is_in_base then gap end) as gap,
    min(case when not is_in_base and abs(gap) > 0.00000001 then day end) as gap_day
  from chains
  group by account, currency
),

told_days as (
  select distinct account, day, is_in_base, account_currency from proofs.funds_days
),

told as (
  select account, case when is_in_base then account_currency else currency end as currency, kind, day,
    bool_or(is_in_base) as is_in_base, whole_sum(amount) as amount, sum(lines) as entries,
    min(code) as code
  from proofs.funds_days
  group by all
),

moved as (
  select
    m.account,
    case when d.is_in_base then d.account_currency else m.currency end as currency,
    m.kind,
    m.day,
    whole_sum(case when d.is_in_base then m.in_base else m.amount end) as amount,
    sum(m.moves) as entries
  from proofs.cash_days m
  join told_days d on d.account = m.account and d.day = m.day
  group by all
),

by_day as (
  select
    coalesce(t.account, m.account) as account,
    coalesce(t.currency, m.currency) as currency,
    coalesce(t.kind, m.kind) as kind,
    coalesce(t.day, m.day) as day,
    t.code,
    coalesce(t.is_in_base, false) as is_in_base,
    case when m.account is null then 0 else m.amount end as ours,
    case when t.account is null then 0 else t.amount end as theirs,
    coalesce(t.entries, 0) + coalesce(m.entries, 0) as entries
  from told t
  full join moved m
    on m.account = t.account and m.currency = t.currency and m.kind = t.kind and m.day = t.day
  where coalesce(t.kind, m.kind) not in ('balance', 'settlement', 'translation')
    -- Both sides of a conversion are one and the same in the base currency.
    and not (coalesce(t.kind, m.kind) = 'conversion' and coalesce(t.is_in_base, true))
),

-- What moved on another day than IBKR says leaves the sums as they are.
by_kind as (
  select
    account,
    currency,
    kind,
    min(code) as code,
    whole_sum(ours) as ours,
    whole_sum(theirs) as theirs,
    bool_and(is_same) as is_same,
    min(case when not is_same then day end) as first_day,
    arg_min(ours - theirs, day) filter (not is_same) as first_difference
  from (
    select
      *,
      coalesce(abs(ours - theirs) <= entries * case when is_in_base then 0.01 else 0.000001 end, false)
        as is_same
    from by_day
  )
  group by account, currency, kind
),

reports as (
  select r.*
  from evidence.cash_reports r
  join config.accounts a on a.account = r.account
  where r.to_date between a.first_date and a.last_date
),

reported as (
  select
    r.account,
    r.currency,
    r.source_id,
    r.to_date,
    r.kind,
    r.stated,
    r.lacks,
    case
      when r.kind = 'change' then coalesce(s.stated, 0) + coalesce(whole_sum(m.amount), 0)
      else coalesce(whole_sum(m.amount), 0)
    end as ours,
    count(m.amount) < count(m.account) as is_unknown,
    coalesce(sum(m.moves), 0) as entries
  from reports r
  left join reports s
    on s.account = r.account and s.source_id = r.source_id and s.kind = 'settlement'
  left join proofs.cash_days m
    on m.account = r.account and m.currency = r.currency and m.day between r.from_date and r.to_date
    and (r.kind = 'change' or r.kind = case when m.kind in ('conversion', 'action') then 'trade' else m.kind end)
  where r.kind <> 'settlement'
  group by r.account, r.currency, r.source_id, r.to_date, r.kind, r.stated, r.lacks, s.stated
),

-- What a chain of lines cannot show of itself: that one is missing at either end.
funded as (
  select
    r.account,
    r.currency,
    r.source_id,
    r.to_date,
    r.stated,
    coalesce(arg_max(d.balance_after, d.day) - arg_min(d.balance_before, d.day), 0) as ours,
    count(d.day) as entries
  from reports r
  semi join staging.flex_statements s
    on s.account = r.account and s.has_funds and s.from_date <= r.from_date and s.to_date >= r.to_date
  left join (
    select distinct account, currency, is_in_base, day, balance_before, balance_after
    from proofs.funds_days
  ) d
    on d.account = r.account and d.currency = r.currency and d.day between r.from_date and r.to_date
  where r.kind = 'change'
    -- Of lines in the base currency a currency's own balances are not told.
    and r.account not in (select account from told_days where is_in_base)
  group by r.account, r.currency, r.source_id, r.to_date, r.stated
),

navs as (
  select
    n.account,
    a.currency,
    n.source_id,
    n.to_date,
    n.kind,
    n.stated,
    n.lacks,
    coalesce(whole_sum(m.in_base), 0) as ours,
    count(m.in_base) < count(m.account) as is_unknown,
    coalesce(sum(m.moves) filter (m.currency <> a.currency), 0) as converted,
    coalesce(sum(m.moves), 0) as entries
  from evidence.nav n
  join config.accounts a on a.account = n.account
  left join proofs.cash_days m
    on m.account = n.account and m.kind = n.kind and m.day between n.from_date and n.to_date
  where n.source_kind = 'ChangeInNAV' and n.kind not in ('starting', 'ending')
    and n.to_date between a.first_date and a.last_date
  group by n.account, a.currency, n.source_id, n.to_date, n.kind, n.stated, n.lacks
),

stated as (
  select account, currency, 'the cash report' as witness, 'Cash Report' as section, kind, source_id, to_date, ours,
    stated, entries, lacks,
    not is_unknown and coalesce(abs(ours - stated) <= 0.000001 * (1 + entries), false) as is_same
  from reported
  union all
  select account, currency, 'the cash report and the statement of funds', 'Statement of Funds', 'change',
    source_id, to_date, ours, stated, entries, null, coalesce(abs(ours - stated) <= 0.000001 * (1 + entries), false)
  from funded
  union all
  select account, currency, 'ChangeInNAV', 'Change in NAV', kind, source_id, to_date, ours, stated, entries, lacks,
    not is_unknown and coalesce(abs(ours - stated) <= 0.000001 * (1 + entries) + 0.01 * converted, false)
  from navs
)

select
  account,
  currency as name,
  case
    when breaks > 0 then 'statement of funds: a balance does not follow from the line before it, on '
      || broken_day || ': a line is missing, doubled or altered, or Balance and Amount are not ticked'
    when gaps > 0 then 'statement of funds: ' || gap_day
      || ' does not begin with the balance that the day before left: statements between are missing'
    else 'statement of funds: an unbroken chain of balances'
  end as place,
  coalesce(gap, 0)::decimal(38, 18) as difference,
  breaks = 0 and gaps = 0 as is_closed
from chain
union all
select
  account,
  currency,
  case
    when kind = 'unknown' then 'statement of funds: activity code ' || coalesce(code, '')
      || ' is not known: nothing here says what it is'
    else 'statement of funds: ' || kind || case
      when is_same then ' moved ' || plain(ours) || ', as IBKR says'
      else ' moved ' || coalesce(plain(ours), 'what is not known') || ' by our rows, IBKR says '
        || coalesce(plain(theirs), 'nothing that can be read') || ', from ' || first_day
        || ' on: a row of ' || flex_section(kind) || ' is missing, doubled or altered, or has another date'
    end
  end,
  case when ours = theirs then first_difference else ours - theirs end::decimal(38, 18),
  is_same and kind <> 'unknown'
from by_kind
union all
select
  account,
  currency,
  witness || ': ' || kind || case
    when bool_and(is_same) then ' is what IBKR says'
    else ', in the period to ' || min(case when not is_same then to_date end)
      || ', is not what IBKR says: a row of ' || flex_section(kind) || ' is missing, doubled or altered'
      || coalesce(
        '; or it stands in a field that is not ticked in the section ' || min(section) || ': '
        || min(case when not is_same then lacks end),
        ''
      )
  end,
  case when bool_and(ours is not null and stated is not null)
    then sum(case when is_same then 0 else ours - stated end)::decimal(38, 18) end,
  bool_and(is_same)
from stated
where stated <> 0 or entries > 0 or kind = 'change' or stated is null
group by account, currency, witness, kind
