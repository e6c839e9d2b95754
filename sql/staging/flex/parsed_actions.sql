-- grain: one CorporateAction row as IBKR wrote it; key: account, id
-- The rows of one action have its headline in common: the description up to the paper that a row is
-- of. `verdict` says what the action is, for all of its rows:
--   cash     a merger for cash: the position leaves for `proceeds`
--   split    the quantity changes, and the cost does not: one row, or two of one instrument (without
--            conids, the old paper and the new one have one symbol; IBKR writes .OLD after the old one's)
--   rename   a paper for another one, or a tender for another paper one for one: lots go on in another
--            instrument; with another quantity, a split besides
--   quiet    two rows of one instrument and quantity: nothing changes
--   restated a SUMMARY, which says again what rows of level DETAIL say
--   unknown  anything else: its instruments are not proven
with texts as (
  select
    r.account,
    r.id,
    a.currency as account_currency,
    coalesce(upper(r.payload ->> 'levelOfDetail'), '') as level,
    not exists (
      from staging.flex_bases b where b.account = r.account and b.currency <> a.currency
    ) as is_in_base,
    coalesce(trim(r.payload ->> 'symbol'), '') as symbol,
    coalesce(n.instrument, y.instrument, regexp_replace(trim(r.payload ->> 'symbol'), '\.OLD$', ''), '')
      as instrument,
    coalesce(upper(r.payload ->> 'assetCategory'), '') as category,
    coalesce(r.payload ->> 'currency', '') as currency,
    coalesce(upper(r.payload ->> 'type'), '') as type,
    coalesce(nullif(r.payload ->> 'description', ''), r.payload ->> 'actionDescription', '')
      as description,
    regexp_replace(description, '\s*\([^()]*\)\s*$', '') as headline,
    nullif(regexp_replace(trim(regexp_extract(headline, '^([^()]+)\(', 1)), '\.OLD$', ''), '') as headed_symbol,
    nullif(r.payload ->> 'dateTime', '') as time_text,
    nullif(r.payload ->> 'reportDate', '') as report_date_text,
    exact(r.payload ->> 'quantity') as qty,
    exact(r.payload ->> 'proceeds') as proceeds,
    coalesce(exact(r.payload ->> 'multiplier'), 1)::decimal(38, 18) as multiplier,
    exact(r.payload ->> 'fifoPnlRealized') as broker_pnl,
    exact(r.payload ->> 'fxRateToBase') as own_rate,
    list_contains(string_split(coalesce(r.payload ->> 'code', ''), ';'), 'Ca') as is_cancel
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  left join config.conids n on n.account = r.account and n.conid = trim(r.payload ->> 'conid')
  left join config.names y
    on y.account = r.account and coalesce(trim(r.payload ->> 'conid'), '') in ('', '0')
    and y.symbol = regexp_replace(trim(r.payload ->> 'symbol'), '\.OLD$', '')
    and flex_day(r.payload) >= y.from_day and flex_day(r.payload) < y.until_day
  where r.venue = 'ibkr-flex' and r.kind = 'CorporateAction'
),

dated as (
  select
    t.*,
    coalesce(p.day, c.day) as day,
    coalesce(c.at, c.midnight_at, p.midnight_at) as at,
    coalesce(c.flaw, p.flaw) as flaw
  from texts t
  left join staging.flex_clock c on c.text = t.time_text
  left join staging.flex_clock p on p.text = t.report_date_text
),

sessions as (
  select
    d.*,
    case
      when timezone('America/New_York', timezone('UTC', s.start_at))::date < d.day
        then s.session_date
      else d.day
    end as session_date
  from dated d
  asof left join config.sessions s on s.account = d.account and d.day <= s.session_date
),

-- The old paper's row is told by its symbol: with .OLD after it, else the one that the headline names.
marked as (
  select *, bool_or(ends_with(symbol, '.OLD')) over (partition by account, day, headline) as has_marked
  from sessions
  where level <> 'SUMMARY'
),

told as (
  select
    *,
    case when has_marked then ends_with(symbol, '.OLD') else starts_with(headline, symbol || '(') end
      as is_old,
    coalesce(proceeds, 0) = 0 and qty <> 0 and not is_cancel and category = 'STK' and multiplier = 1
      as is_of_paper,
    regexp_matches(upper(headline), '\bSPLIT\b') or type in ('FS', 'RS') as is_split,
    regexp_matches(upper(headline), 'TENDERED TO|(CUSIP|ISIN|SYMBOL|NAME)[A-Z/ ]* CHANGE')
      or type = 'IC' as is_rename
  from marked
),

legs as (
  select
    *,
    count(*) over action as n,
    coalesce(bool_and(is_of_paper) over action, false)
      and min(currency) over action = max(currency) over action as is_paper,
    min(case when not is_old then instrument end) over action as new_instrument,
    min(case when is_old then instrument end) over action as old_instrument,
    count(*) filter (is_old) over action as n_old,
    sum(qty) over action as change,
    sum(case when is_old then qty end) over action as old_qty,
    row_number() over (partition by account, day, headline order by id) = 1 as is_first
  from told
  window action as (partition by account, day, headline)
)

select
  l.*,
  coalesce(h.instrument, headed_symbol) as headed_instrument,
  exact(regexp_extract(upper(headline), ' FOR [A-Z]{3} ([0-9.]+) PER SHARE', 1)) as price,
  case
    when l.currency = account_currency then 1::decimal(38, 18)
    else coalesce(case when is_in_base and own_rate > 0 then own_rate end, r.rate)
  end as rate,
  case
    when l.currency = account_currency then 'exact'
    when is_in_base and own_rate > 0 or r.rate is not null then 'converted'
  end as valuation,
  case
    when flaw is not null or l.day is null or level not in ('', 'DETAIL') then 'unknown'
    when n = 1 and sign(qty) = -sign(proceeds) and qty <> 0 and not is_cancel and multiplier = 1 and category = 'STK'
      and l.currency <> ''
      and (type = 'TC' or regexp_matches(upper(headline), 'MERGED.* FOR [A-Z]{3} [0-9.]+ PER SHARE'))
      then 'cash'
    when n = 1 and is_paper and is_split and type <> 'RS' then 'split'
    when n = 2 and is_paper and n_old = 1 and sign(old_qty) = -sign(change - old_qty) then case
      when old_instrument = new_instrument and change = 0 and (is_split or is_rename) then 'quiet'
      when old_instrument = new_instrument and is_split then 'split'
      when old_instrument <> new_instrument and is_split then 'rename'
      when old_instrument <> new_instrument and is_rename and change = 0 then 'rename'
      else 'unknown'
    end
    else 'unknown'
  end as verdict
from legs l
left join staging.flex_rates r
  on r.account = l.account and r.currency = l.currency and r.day = l.day
left join config.names h
  on h.account = l.account and h.symbol = l.headed_symbol and h.from_day < l.day and l.day <= h.until_day
union all by name
select *, 'restated' as verdict
from sessions
where level = 'SUMMARY'
