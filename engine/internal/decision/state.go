package decision

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/recourse-go/recourse/policy"
)

// State is what one call has used up so far. Package engine says what it is for.
type State struct {
	Attempts int           // attempts finished, whatever became of them
	Waits    int           // waits that a server or a rule asked for; these use up no attempt
	Waited   time.Duration // time in such waits
	Spent    time.Duration // time spent on attempts and the backoffs between them, without asked-for waits, holds and deferrals
	Began    time.Time     // when the first attempt began; zero = not known

	reauths int           // re-authentications since the last failure that was not about the credentials
	last    time.Duration // the delay before the latest attempt
	unknown bool          // an earlier attempt had an unknown outcome: it may have been carried out
	short   uint8         // consecutive waits that obeyed a hint exactly and were below the schedule's min; at most maxShort
	used    [maxUsed]usedBackoff
}

// maxShort bounds `hint: exact`: from the third wait in a row that is shorter than the
// schedule's min, that min counts again.
const maxShort = 3

// Retries returns how many failures have used up an attempt of some backoff. These are all
// failures except those that led to an asked-for wait or a re-authentication.
func Retries(s *State) int {
	n := 0
	for _, u := range s.used {
		n += int(u.attempts)
	}
	return n
}

// maxUsed bounds how many backoffs a State tells apart. A call that uses more of them
// counts the others together with the last one, so it gives up sooner, never later.
const maxUsed = 4

// usedBackoff counts the failures after which the call waited by one backoff.
type usedBackoff struct {
	id       uint32        // see backoffID; 0 = the element is free
	attempts int32         // failures that used up an attempt
	steps    int32         // the step of the schedule: counts attempts and asked-for waits
	since    time.Duration // State.Spent when this backoff was first used
}

// backoffID identifies a backoff in a State, for one action. `wait` without a hint has
// counts of its own, so that throttling uses up no attempts of `retry`, and each of the two
// is bounded. The id comes from the name and not from the position, since the policy may be
// reloaded between two attempts of a call.
func backoffID(name string, a policy.Action) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	if a == policy.Wait {
		h.Write([]byte{0})
	}
	if id := h.Sum32(); id != 0 {
		return id
	}
	return 1
}

// OutcomeUnknown notes that an attempt of the call may have been carried out.
func OutcomeUnknown(s *State) { s.unknown = true }

// InAttempt returns the State to resume a call with if its process dies in the attempt that
// follows s and begins now: the attempt counts, and it may have been carried out.
func InAttempt(s State, now time.Time) State {
	s.Attempts++
	s.unknown = true
	if s.Began.IsZero() {
		s.Began = now
	}
	return s
}

// backoff returns the counts of a backoff, or the element to count it in.
func (s *State) backoff(id uint32) *usedBackoff {
	for i := range s.used {
		if s.used[i].id == id || s.used[i].id == 0 {
			return &s.used[i]
		}
	}
	return &s.used[maxUsed-1]
}

// stateVersion is the version of the JSON form.
const stateVersion = 1

// stateJSON is the JSON form: times in milliseconds, backoffs in unpadded
// base64url, each as its id (4 bytes) and its attempts, steps and since (varints).
type stateJSON struct {
	V       int    `json:"v"`
	Began   int64  `json:"t,omitempty"`
	N       int64  `json:"n,omitempty"`
	Reauth  int64  `json:"r,omitempty"`
	Waits   int64  `json:"w,omitempty"`
	Waited  int64  `json:"wt,omitempty"`
	Spent   int64  `json:"s,omitempty"`
	Last    int64  `json:"d,omitempty"`
	Used    string `json:"b,omitempty"`
	Short   uint8  `json:"h,omitempty"`
	Unknown bool   `json:"u,omitempty"` // states that an older version wrote lack it, and count as false
}

// The largest numbers of the JSON form. A larger one is written as this.
const (
	maxCount  = math.MaxUint16
	maxMillis = 365 * 24 * 60 * 60 * 1000
	maxBegan  = 9999999999999 // in the year 2286
)

func countJSON[T int | int32](n T) int64 { return min(max(int64(n), 0), maxCount) }

func millisJSON(d time.Duration) int64 { return min(max(d.Milliseconds(), 0), maxMillis) }

// MarshalJSON writes the compact, versioned form.
func (s State) MarshalJSON() ([]byte, error) {
	j := stateJSON{
		V: stateVersion, N: countJSON(s.Attempts), Reauth: countJSON(s.reauths), Waits: countJSON(s.Waits),
		Waited: millisJSON(s.Waited), Spent: millisJSON(s.Spent), Last: millisJSON(s.last), Short: min(s.short, maxShort), Unknown: s.unknown,
	}
	if !s.Began.IsZero() {
		j.Began = min(max(s.Began.UnixMilli(), 1), maxBegan)
	}
	var b []byte
	for _, u := range s.used {
		if u.id == 0 {
			break
		}
		b = binary.BigEndian.AppendUint32(b, u.id)
		b = binary.AppendUvarint(b, uint64(countJSON(u.attempts)))
		b = binary.AppendUvarint(b, uint64(countJSON(u.steps)))
		b = binary.AppendUvarint(b, uint64(millisJSON(u.since)))
	}
	j.Used = base64.RawURLEncoding.EncodeToString(b)
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote. It refuses a State of another version, one
// with a count or a time out of range, and one with too many backoffs, since a call must not
// get new attempts because its saved state is damaged.
func (s *State) UnmarshalJSON(b []byte) error {
	var j stateJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("engine: state: %w", err)
	}
	if j.V != stateVersion {
		return fmt.Errorf("engine: state: version %d, want %d", j.V, stateVersion)
	}
	for _, n := range []int64{j.N, j.Reauth, j.Waits} {
		if n < 0 || n > maxCount {
			return fmt.Errorf("engine: state: count %d out of range", n)
		}
	}
	for _, ms := range []int64{j.Waited, j.Spent, j.Last} {
		if ms < 0 || ms > maxMillis {
			return fmt.Errorf("engine: state: duration %d ms out of range", ms)
		}
	}
	if j.Short > maxShort {
		return fmt.Errorf("engine: state: count %d out of range", j.Short)
	}
	if j.Began < 0 || j.Began > maxBegan {
		return fmt.Errorf("engine: state: time %d out of range", j.Began)
	}
	n := State{
		Attempts: int(j.N), reauths: int(j.Reauth), Waits: int(j.Waits),
		Waited: time.Duration(j.Waited) * time.Millisecond,
		Spent:  time.Duration(j.Spent) * time.Millisecond,
		last:   time.Duration(j.Last) * time.Millisecond, unknown: j.Unknown, short: j.Short,
	}
	if j.Began != 0 {
		n.Began = time.UnixMilli(j.Began)
	}
	used, err := base64.RawURLEncoding.Strict().DecodeString(j.Used)
	if err != nil {
		return fmt.Errorf("engine: state: backoffs: %w", err)
	}
	for i := 0; len(used) > 0; i++ {
		if i == maxUsed {
			return fmt.Errorf("engine: state: more than %d backoffs", maxUsed)
		}
		if n.used[i], used, err = readUsed(used); err != nil {
			return err
		}
	}
	*s = n
	return nil
}

// readUsed reads one backoff's counts off the front of b.
func readUsed(b []byte) (u usedBackoff, rest []byte, err error) {
	if len(b) < 4 {
		return u, nil, fmt.Errorf("engine: state: backoffs cut short")
	}
	u.id, b = binary.BigEndian.Uint32(b), b[4:]
	var n [3]uint64
	for i, most := range [...]uint64{maxCount, maxCount, maxMillis} {
		v, size := binary.Uvarint(b)
		if size <= 0 || v > most {
			return u, nil, fmt.Errorf("engine: state: backoff out of range")
		}
		n[i], b = v, b[size:]
	}
	if u.id == 0 || n[0] > n[1] {
		return u, nil, fmt.Errorf("engine: state: backoff out of range")
	}
	u.attempts, u.steps, u.since = int32(n[0]), int32(n[1]), time.Duration(n[2])*time.Millisecond
	return u, b, nil
}
