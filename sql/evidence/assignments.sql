-- grain: one order, or fill without an order, and whose a person says it is; key: account, is_order, id
-- `bot` is null where it is no bot's. As the lots were last run.
-- replaces: k.account in (select account from config.accounts)
select account, is_order, id, bot
from config.assignments
semi join config.accounts using (account)
