			-- Free slots of the limit at b, of so many in all, are kept for who is next; told are
			-- those members, but for the waiter at self.
			free := whole;
			credit := lim[b+{credit}];
			for o in 0..cardinality(lists)/{listSize}-1 loop
				m := o * {listSize};
				if lists[m+1] = blk then
					if lists[m+2] = {lease} then
						free := free - lists[m+4];
					elsif lists[m+2] = {waiter} and lists[m+7] <> 0 then
						if lists[m+7] <= now then -- else others may have its slots until then
							free := free - least(lists[m+5], whole);
						end if;
						if lists[m+4] = {backfill} then
							credit := credit - greatest(lists[m+5], 1) * 1000;
						end if;
					end if;
				end if;
			end loop;
			loop
				pick := null;
				back := null;
				for o in 0..cardinality(lists)/{listSize}-1 loop
					m := o * {listSize};
					if lists[m+1] = blk and lists[m+2] = {waiter} and lists[m+7] = 0 then
						if lists[m+4] <> {backfill} then
							pick := coalesce(pick, m);
						else
							back := coalesce(back, m);
						end if;
					end if;
				end loop;
				if back is not null and (pick is null or credit >= greatest(lists[back+5], 1) * 1000) then
					pick := back;
				end if;
				exit when pick is null or least(lists[pick+5], whole) > free;
				lists[pick+7] := now;
				dirty := true;
				free := free - least(lists[pick+5], whole);
				if lists[pick+4] = {backfill} then
					credit := credit - greatest(lists[pick+5], 1) * 1000;
				end if;
				if pick is distinct from self then
					perform pg_notify('{channel}', 'f ' || lists[pick+3] || ' ' || thekey);
				end if;
			end loop;
