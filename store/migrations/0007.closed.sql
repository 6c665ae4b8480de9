-- A reject that nobody can mend is closed by a person, who says why; its bytes stay.
-- depends: 0004.rejects 0006.reasons

alter table rejects add column closed_why text;
