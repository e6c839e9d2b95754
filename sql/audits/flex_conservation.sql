-- Rows of IBKR's that are staged twice, or staged and quarantined, or neither: none may be here.
-- Counted from raw, by level, and not from the verdicts.
-- grain: one such row; key: account, kind, id
with places as (
  select account, kind, id, 'quarantine' as place from staging.flex_quarantine
  union all
  select f.account, p.kind, f.fill_id, 'fills'
  from staging.flex_fills f
  left join staging.flex_parsed_fills p
    on p.account = f.account and p.id = f.fill_id and p.verdict = 'fill'
  union all
  select account, 'CashTransaction', entry_id, 'ledger'
  from staging.flex_ledger
  where not starts_with(entry_id, 'conversion/') and not starts_with(entry_id, 'cancelled/')
  union all
  select account, kind, id, verdict
  from staging.flex_parsed_fills
  where verdict in ('cancelled', 'conversion', 'restated')
  union all
  select account, 'CashTransaction', id, verdict
  from staging.flex_parsed_ledger
  where verdict = 'restated'
),

counted as (
  select
    r.account,
    r.kind,
    r.id,
    upper(coalesce(r.payload ->> 'levelOfDetail', '')) as level,
    count(p.place) as n,
    string_agg(p.place, ', ') as found_in
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  left join places p on p.account = r.account and p.kind = r.kind and p.id = r.id
  where r.venue = 'ibkr-flex' and r.kind in ('Trade', 'TradeConfirm', 'CashTransaction')
  group by all
),

-- A pair leaves the position flow only where its quantities cancel out.
unbalanced as (
  select account, 'Trade' as kind, pair_id as id
  from staging.flex_parsed_fills
  where verdict = 'cancelled'
  group by account, pair_id
  having sum(qty) <> 0 or count(*) <> 2
)

select account, kind, id, 'in ' || n || ' places: ' || coalesce(found_in, 'none') as problem
from counted
where n <> 1
union all
select account, kind, id, 'an execution is taken for a restatement'
from counted
where found_in = 'restated' and level in ('EXECUTION', 'DETAIL') and kind <> 'TradeConfirm'
union all
select account, kind, id, 'a cancelled pair does not add up to 0'
from unbalanced
