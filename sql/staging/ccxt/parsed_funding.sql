-- grain: one funding payment at an exchange of ccxt's, with a reason where it cannot be read; key: account, entry_id
-- bybit's is an execution whose fee is what was paid: positive there is paid, and ccxt leaves it so;
-- of the currency ccxt knows only USDT or the quote there, so it is the contract's own.
select
  r.account,
  r.id as entry_id,
  x.exchange,
  utc_ms(r.payload ->> 'timestamp') as "at",
  nullif(r.payload ->> 'symbol', '') as instrument,
  case when x.exchange = 'bybit' then -exact(r.payload ->> 'amount') else exact(r.payload ->> 'amount') end
    as amount,
  case when x.exchange = 'bybit' then i.currency else coalesce(nullif(r.payload ->> 'code', ''), i.currency) end
    as currency,
  a.currency as account_currency,
  nullif(
    concat_ws(
      '; ',
      case
        when utc_ms(r.payload ->> 'timestamp') is null
          or utc_ms(r.payload ->> 'timestamp') > r.fetched_at + interval 1 day
          then 'timestamp is not a time at which anything was paid'
      end,
      case when coalesce(r.payload ->> 'symbol', '') = '' then 'funding without an instrument' end,
      case when exact(r.payload ->> 'amount') is null then 'amount is not an amount' end,
      case
        when coalesce(case when x.exchange <> 'bybit' then r.payload ->> 'code' end, i.currency, '') = ''
          then 'the currency is not known'
      end
    ),
    ''
  ) as reason
from raw.staged_records r
join config.exchanges x on x.account = r.account and x.exchange = r.venue
join config.accounts a on a.account = r.account
left join staging.ccxt_instruments i
  on i.account = r.account and i.instrument = r.payload ->> 'symbol'
where r.kind = 'funding'
