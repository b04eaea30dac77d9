package limiter

import (
	"math"
	"time"
)

// history is what a limit granted to one key, and what it was allowed to.
type history struct {
	limit  int
	keys   Keys
	grants []*grant
	holds  [][2]int64 // closed from, to
	opening
}

type grant struct {
	at    int64
	units int64
}

// opening is how a limit without a rate opens after a hold, for one key: a
// model of what Hold says. It is looked at with advance before each use.
type opening struct {
	held   int64        // closed until then; 0 = not
	window int          // how many probes may be out; 0 = it is open
	probes map[any]bool // those that are
	lapse  int64        // open from then on, if none is
}

func (o *opening) advance(now int64) *opening {
	if o.held != 0 && now >= o.held {
		*o = opening{window: 1, probes: map[any]bool{}, lapse: o.held + int64(time.Minute)}
	}
	if o.window > 0 && len(o.probes) == 0 && now >= o.lapse {
		*o = opening{}
	}
	return o
}

func (o *opening) hold(until int64) { *o = opening{held: max(o.held, until)} }

// pass reports whether call may pass.
func (o *opening) pass(call any) bool {
	if o.held != 0 || o.window > 0 && len(o.probes) >= o.window {
		return false
	}
	if o.window > 0 {
		o.probes[call] = true
	}
	return true
}

// end ends call, if it is a probe. Where as many as most may be out, the limit is open.
func (o *opening) end(call any, good bool, most int64, now int64) {
	if !o.probes[call] {
		return
	}
	delete(o.probes, call)
	if good {
		o.window++
		o.lapse = now + int64(time.Minute)
		if int64(o.window) >= most {
			*o = opening{}
		}
	}
}

// agree fails where the limiter's state for the key is not the model's.
func (o *opening) agree(l *Limiter, limit int, k *Keys) {
	cfg := l.config.Load()
	m := cfg.limits[limit]
	g := cfg.groups[m.group]
	hash, i := l.locate(g, k)
	l.shards[i].mu.Lock()
	defer l.shards[i].mu.Unlock()
	var x coldLimit
	now := l.now()
	if e := l.shards[i].table.find(hash, g, k); e != nil && e.coldOf(m) != nil {
		x = *e.coldOf(m)
		e.advance(m, &x, now) // only the copy: to look must not matter
	}
	if o.advance(now); x.hold != o.held || int(x.allowed) != o.window || int(x.probes) != len(o.probes) {
		failer{}.Fatalf("%s of %v: held until %d with %d probes of %d, want %d with %d of %d",
			m.Name, *k, x.hold, x.probes, x.allowed, o.held, len(o.probes), o.window)
	}
}

// regime is the numbers in force from a time on.
type regime struct {
	from   int64
	limits []Limit
}

// over returns the worst window of the grants: how many units more than allowed.
func over(grants []*grant, regimes []regime, limit int) (worst float64, from, to int64) {
	worst = math.Inf(-1)
	for i := range grants {
		sum := 0.0
		for j := i; j < len(grants); j++ {
			sum += float64(grants[j].units)
			if j+1 < len(grants) && grants[j+1].at == grants[j].at {
				continue
			}
			a, b := grants[i].at, grants[j].at
			allowed, burst := 0.0, 0.0
			for k, r := range regimes {
				end := int64(math.MaxInt64)
				if k+1 < len(regimes) {
					end = regimes[k+1].from
				}
				if end < a || r.from > b {
					continue
				}
				m := r.limits[limit]
				w, _ := m.spec()
				allowed += w.rate * time.Duration(min(end, b)-max(r.from, a)).Seconds()
				burst = max(burst, float64(w.burst))
			}
			if o := sum - allowed - burst; o > worst {
				worst, from, to = o, a, b
			}
		}
	}
	return worst, from, to
}
