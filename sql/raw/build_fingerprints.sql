-- grain: what the tables of an account are made from beside its records; key: account
-- Where this is not what it was when they were made, all of the account is made again: another
-- configuration, other sessions, other names of IBKR's instruments, another contract value of something it has traded, another base currency.
select
  a.account,
  md5(concat_ws(
    ' · ',
    (a.venue, a.currency, a.lots, a.calendar, a.is_by_trade_date, a.first_date)::varchar,
    (select list((s.session_date, s.start_at, s.end_at)::varchar order by s.session_date)::varchar
     from config.sessions s
     join lots.through t on t.account = s.account and s.session_date <= t.last_session
     where s.account = a.account),
    (select list(t.instrument_type order by t.instrument_type)::varchar
     from config.instrument_types t where t.account = a.account),
    (select t.timezone from config.tws t where t.account = a.account),
    (select list((b.bot, b.order_tag)::varchar order by b.bot)::varchar
     from config.bots b where b.account = a.account),
    (select list((o.instrument, o.bot)::varchar order by o.instrument, o.bot)::varchar
     from config.owners o where o.account = a.account),
    (select list((n.conid, n.symbol, n.from_day, n.until_day, n.instrument)::varchar order by n.conid, n.symbol)::varchar
     from config.names n where n.account = a.account),
    (select list((o.number, o.instrument, o.position_side, o.qty, o.price)::varchar order by o.number)::varchar
     from config.opening o where o.account = a.account),
    (select list((s.id, s.payload::json -> ['ctVal', 'ctMult', 'ctType', 'settleCcy', 'quoteCcy', 'baseCcy', 'type', 'contractSize', 'inverse', 'settle', 'quote', 'base'])::varchar order by s.id)::varchar
     from raw.latest_state s
     semi join evidence.instruments i on i.account = s.account and i.instrument = s.id
     where s.venue = a.venue and s.account = a.account and s.kind = 'instrument'),
    (select list(s.payload::json ->> 'currency' order by s.id)::varchar
     from raw.latest_state s
     where s.venue = a.venue and s.account = a.account and s.kind = 'AccountInformation'),
    (select list(distinct b.currency order by b.currency)::varchar
     from raw.latest_state s
     cross join unnest(json_extract_string(s.payload, '$.base_currencies[*].currency')) b (currency)
     where s.venue = a.venue and s.account = a.account and s.kind = 'FlexStatement')
  )) as fingerprint
from config.accounts a
