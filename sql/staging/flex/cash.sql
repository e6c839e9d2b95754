-- grain: one movement of cash that IBKR's rows tell of, a fill's and a conversion's parts apart;
-- key: account, source_kind, source_id, part
-- For the cash proof alone: by the date of the report, cancelled pairs included. `kind`: trade |
-- commission | transaction tax | conversion | action (a merger's cash) and the kinds of the ledger.
-- `rate` is to the account's currency; null where it is not known.
select account, kind as source_kind, id as source_id, part.part, report_date as day,
  part.kind, part.currency, part.amount, part.rate
from (
  select
    *,
    unnest([
      {'part': 'commission', 'kind': 'commission', 'currency': fee_currency, 'amount': commission, 'rate': fee_rate},
      {'part': 'taxes', 'kind': 'transaction tax', 'currency': currency, 'amount': taxes, 'rate': rate},
      {
        'part': 'proceeds',
        'kind': case when verdict = 'conversion' then 'conversion' else 'trade' end,
        'currency': currency, 'amount': proceeds, 'rate': rate
      },
      {
        'part': 'bought', 'kind': 'conversion', 'currency': split_part(instrument, '.', 1),
        'amount': case when verdict = 'conversion' then qty else 0 end,
        'rate': case when split_part(instrument, '.', 1) = account_currency then 1 end::decimal(38, 18)
      }
    ]) as part
  from staging.flex_parsed_fills
  where verdict in ('fill', 'cancelled', 'conversion')
)
where coalesce(part.amount <> 0, part.part = 'proceeds')
  -- What these gain is settled day by day, and no part of their proceeds.
  and not (category in ('FUT', 'CFD') and part.part = 'proceeds')
union all by name
select account, 'CashTransaction' as source_kind, id as source_id, 'entry' as part, any_date as day,
  entry_kind as kind, currency, amount, rate
from staging.flex_parsed_ledger
where verdict = 'entry'
union all by name
select account, 'CorporateAction' as source_kind, id as source_id, 'proceeds' as part, day,
  'action' as kind, currency, proceeds as amount, rate
from staging.flex_parsed_actions
where verdict = 'cash'
