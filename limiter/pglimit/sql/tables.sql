-- What is known of keys. It is lost when the server crashes, and the epochs with it: so a
-- key that is new says since when nothing can have been forgotten.
create unlogged table {schema}.keys (
	key     uuid primary key,
	version bigint not null default 0,
	seen    bigint not null default 0,
	since   bigint not null default 0,
	restore bigint not null default 0,
	epoch   bigint not null default 0,
	expires bigint not null default 0,
	lim     bigint[] not null default '{}',
	lists   bigint[] not null default '{}',
	ids     bigint[] not null default '{}',
	void    bigint[] not null default '{}',
	causes  bytea[] not null default '{}'
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 10, autovacuum_vacuum_cost_delay = 0);
alter table {schema}.keys alter lim set storage main, alter lists set storage main, alter ids set storage main, alter void set storage main;

create unlogged table {schema}.epochs (
	place smallint primary key,
	since bigint not null
);

create unlogged table {schema}.members (
	member  uuid primary key,
	short   bigint not null, -- its digest, and the advisory lock that it has while it listens
	numbers bytea not null,
	apart   boolean not null,
	secret  bytea not null, -- a digest
	fleet   bytea not null, -- a digest
	seen    bigint not null,
	until   bigint not null
);

-- The numbers of the members' limits, by their digests.
create unlogged table {schema}.numbers (
	numbers bytea primary key,
	limits  bytea not null
);

-- Names of keys, by who wants them to be seen.
create table {schema}.names (
	key  uuid primary key,
	name text not null
);
