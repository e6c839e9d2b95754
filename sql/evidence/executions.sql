-- grain: one row of a statement that names an execution of IBKR's, of every night; key: account, source_kind, source_id
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.revised)
select account, source_kind, source_id, execution_family(exec_id) as family, exec_id
from staging.flex_executions
