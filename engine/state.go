package engine

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"time"
)

// State is what one call has used up so far: attempts by backoff, waits,
// re-authentications, time. It is a small value without pointers; Decide takes
// one and returns the next. The zero value is a call that has not failed yet.
//
// It marshals to JSON of less than 200 bytes, so a job row can carry it from
// one process to another: a deferred call that resumes with its State goes on
// where it stopped instead of starting to count anew.
type State struct {
	Attempts int           // attempts finished
	Reauths  int           // re-authentications done
	Waits    int           // waits that a server or a rule asked for; these burn no attempt
	Waited   time.Duration // time in such waits
	Spent    time.Duration // time spent trying: attempts and own backoff, but no asked-for waits, holds or deferrals
	Last     time.Duration // the delay before the latest attempt
	Began    time.Time     // when the first attempt began; zero = not known

	used [maxUsed]usedBackoff
}

// maxUsed bounds how many backoffs a State tells apart. A call that runs
// through more of them counts the rest together with the last, so it gives up
// sooner, never later.
const maxUsed = 4

// usedBackoff counts the failures that one backoff has answered.
type usedBackoff struct {
	id       uint32        // hash of the backoff's name; 0 = free
	attempts int32         // failures that burnt an attempt
	steps    int32         // the schedule's step: attempts, and asked-for waits too
	since    time.Duration // State.Spent when this backoff was first used
}

// backoffID names a backoff in a State. Names, not positions, are kept, since
// a policy may be reloaded between two attempts of a call.
func backoffID(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	if id := h.Sum32(); id != 0 {
		return id
	}
	return 1
}

// slot finds the counts of a backoff, or the place for them.
func (s *State) slot(id uint32) *usedBackoff {
	for i := range s.used {
		if s.used[i].id == id {
			return &s.used[i]
		}
		if s.used[i].id == 0 {
			return &s.used[i]
		}
	}
	return &s.used[maxUsed-1]
}

// stateVersion is the version of the JSON form.
const stateVersion = 1

// stateJSON is the JSON form: times in milliseconds, backoffs as a flat list
// of id, attempts, steps, since.
type stateJSON struct {
	V      int     `json:"v"`
	Began  int64   `json:"t,omitempty"`
	N      int     `json:"n,omitempty"`
	Reauth int     `json:"r,omitempty"`
	Waits  int     `json:"w,omitempty"`
	Waited int64   `json:"wt,omitempty"`
	Spent  int64   `json:"s,omitempty"`
	Last   int64   `json:"d,omitempty"`
	Used   []int64 `json:"b,omitempty"`
}

// MarshalJSON writes the compact, versioned form.
func (s State) MarshalJSON() ([]byte, error) {
	j := stateJSON{
		V: stateVersion, N: s.Attempts, Reauth: s.Reauths, Waits: s.Waits,
		Waited: s.Waited.Milliseconds(), Spent: s.Spent.Milliseconds(), Last: s.Last.Milliseconds(),
	}
	if !s.Began.IsZero() {
		j.Began = s.Began.UnixMilli()
	}
	for _, u := range s.used {
		if u.id == 0 {
			break
		}
		j.Used = append(j.Used, int64(u.id), int64(u.attempts), int64(u.steps), u.since.Milliseconds())
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote. A State of another version, with
// a negative count or with too many backoffs is refused: a call must not get
// fresh attempts from a damaged row.
func (s *State) UnmarshalJSON(b []byte) error {
	var j stateJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("engine: state: %w", err)
	}
	if j.V != stateVersion {
		return fmt.Errorf("engine: state: version %d, want %d", j.V, stateVersion)
	}
	const most = int64(math.MaxInt64) / int64(time.Millisecond)
	for _, n := range []int64{int64(j.N), int64(j.Reauth), int64(j.Waits)} {
		if n < 0 || n > math.MaxInt32 {
			return fmt.Errorf("engine: state: count %d out of range", n)
		}
	}
	for _, ms := range []int64{j.Waited, j.Spent, j.Last} {
		if ms < 0 || ms > most {
			return fmt.Errorf("engine: state: duration %d ms out of range", ms)
		}
	}
	if len(j.Used)%4 != 0 || len(j.Used) > 4*maxUsed {
		return fmt.Errorf("engine: state: %d numbers about backoffs, want at most %d in fours", len(j.Used), 4*maxUsed)
	}
	n := State{
		Attempts: j.N, Reauths: j.Reauth, Waits: j.Waits,
		Waited: time.Duration(j.Waited) * time.Millisecond,
		Spent:  time.Duration(j.Spent) * time.Millisecond,
		Last:   time.Duration(j.Last) * time.Millisecond,
	}
	if j.Began != 0 {
		n.Began = time.UnixMilli(j.Began)
	}
	for i := 0; i < len(j.Used); i += 4 {
		u := j.Used[i : i+4]
		if u[0] <= 0 || u[0] > math.MaxUint32 || u[1] < 0 || u[1] > math.MaxInt32 || u[2] < 0 || u[2] > math.MaxInt32 || u[3] < 0 || u[3] > most {
			return fmt.Errorf("engine: state: backoff %v out of range", u)
		}
		n.used[i/4] = usedBackoff{id: uint32(u[0]), attempts: int32(u[1]), steps: int32(u[2]), since: time.Duration(u[3]) * time.Millisecond}
	}
	*s = n
	return nil
}
