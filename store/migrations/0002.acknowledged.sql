-- An acknowledgement is told to the other desks by verify, the one writer of `changes`: the journal names its alert.
-- depends: 0001.spine

alter table journal add column alerts text[] not null default '{}';
