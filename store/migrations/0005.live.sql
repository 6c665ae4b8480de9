-- What lets verify leave alone, of most of what comes in, all that cannot be there.
-- depends: 0002.acknowledged

-- Beside each source of a transaction: whether it wrote anything but fixes of it. Empty: nobody knows.
alter table journal add column others boolean[] not null default '{}';

-- Each row is written again every few seconds: with room on its page that touches no index.
alter table positions set (fillfactor = 50);
