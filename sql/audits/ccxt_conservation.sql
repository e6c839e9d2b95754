-- Every raw trade, funding payment, position and coin of an exchange of ccxt's is staged or
-- quarantined, once. Returns the records where not.
with places as (
  select account, 'trade' as kind, fill_id as id from staging.ccxt_fills
  union all select account, 'funding', entry_id from staging.ccxt_ledger
  union all select account, 'position', position_id from staging.ccxt_parsed_positions where reason is null
  union all select account, 'coin', currency from staging.ccxt_balances where amount is not null
  union all select account, kind, id from staging.ccxt_quarantine
)

select r.account, r.kind, r.id, count(p.id) as places
from raw.staged_records r
join config.exchanges x on x.account = r.account and x.exchange = r.venue
left join places p on p.account = r.account and p.kind = r.kind and p.id = r.id
where r.kind in ('trade', 'funding', 'position', 'coin')
group by r.account, r.kind, r.id
having count(p.id) <> 1
