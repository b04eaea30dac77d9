			-- The row of thekey is locked and read.
			loop
				select k.version, k.seen, k.since, k.restore, k.epoch, k.expires, k.lim, k.lists, k.ids, k.void
					into xversion, xseen, xsince, xrestore, xepoch, expires, lim, lists, ids, void
					from {schema}.keys k where k.key = thekey for no key update;
				exit when found;
				insert into {schema}.keys (key) values (thekey) on conflict do nothing;
			end loop;
			now := greatest(now, xseen, case when p_at <> 0 then p_at else {clock} end);
			fresh := expires <= now;
			if fresh then
				xepoch := {schema}.epoch(place, now);
				xsince := xepoch;
				xversion := 0;
				xrestore := 0;
				expires := 0;
				lim := '{}';
				lists := '{}';
				ids := '{}';
				void := '{}';
			end if;
