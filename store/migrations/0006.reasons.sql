-- Why people were told something new, as values that a page can say in any language. `why` says the same in English.
-- depends: 0001.spine

alter table outcome_history add column reasons jsonb not null default '[]';
