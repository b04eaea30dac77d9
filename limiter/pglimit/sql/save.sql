			-- The row of thekey is written.
			expires := greatest(xrestore, 0);
			for o in 1..cardinality(ids)/2 loop
				expires := greatest(expires, ids[o*2] + {recentFor});
			end loop;
			for o in 1..cardinality(void)/3 loop
				expires := greatest(expires, void[o*3-1]);
			end loop;
{expires}
			update {schema}.keys u set version = xversion, seen = greatest(xseen, now), since = xsince, restore = xrestore, epoch = xepoch,
				expires = expires, lim = lim, lists = lists, ids = ids, void = void,
				causes = case when fresh then '{}' else u.causes end
				where key = thekey;
