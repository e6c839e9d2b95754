-- grain: one entry whose balance does not follow from the one before it in its session
-- replaces: (k.account, k.currency, k.session_date) in (from affected.chains)
select account, currency, session_date, entry_id, balance_after - balance_change - before as difference
from (
  select
    l.*,
    lag(l.balance_after) over (
      partition by l.account, l.currency, l.session_date order by l.seq
    ) as before
  from evidence.ledger l
  semi join affected.chains t
    on t.account = l.account and t.currency = l.currency and t.session_date = l.session_date
  where l.balance_after is not null
)
where balance_after - balance_change <> before
