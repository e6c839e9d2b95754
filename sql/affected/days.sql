-- grain: one session of an account in which a fill or an entry changed; key: all columns
select account, session_date from changed.fills
union
select account, session_date from changed.ledger
