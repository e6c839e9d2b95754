-- grain: one contract, or none, of which a session's flows changed; key: all columns
select account, session_date, instrument from changed.fills
union
select account, session_date, null as instrument from changed.ledger
