-- grain: an instrument of which the account has fills that no bot owns; key: account, instrument
-- Only instruments that some bot claims are looked for.
select distinct r.account, r.instrument
from lots.realised r
join (
  select distinct b.account, c.instrument
  from proofs.claimed_names c
  join config.bots b on b.bot = c.bot
  anti join config.owners o on o.account = b.account and o.instrument = c.instrument
) c on c.account = r.account and c.instrument = r.instrument
where r.scope = 'bot' and r.bot is null and r.fills > 0
