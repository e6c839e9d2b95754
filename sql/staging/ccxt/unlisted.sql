-- grain: a bot's instrument that an exchange of ccxt's does not list; key: account, instrument
select r.account, r.id as instrument
from raw.staged_records r
join config.exchanges x on x.account = r.account and x.exchange = r.venue
where r.kind = 'unlisted'
