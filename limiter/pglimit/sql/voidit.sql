			-- Takes by the id are void until n; k = 1: it has ended.
			void := (select coalesce(array_agg(w.e order by w.i), '{}') from unnest(void) with ordinality as w(e, i)
				where void[(w.i-1)/3*3+2] > now);
			for o in 1..cardinality(void)/3 loop
				if void[o*3-2] = id then
					void[o*3-1] := greatest(void[o*3-1], n);
					void[o*3] := greatest(void[o*3], k);
					n := 0;
					exit;
				end if;
			end loop;
			if n > 0 then
				void := void || array[id, n, k];
				if cardinality(void) > 3 * {voidMost} then
					void := void[cardinality(void)-3*{voidMost}+1:];
				end if;
			end if;
