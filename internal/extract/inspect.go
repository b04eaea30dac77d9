package extract

// Inspect says in which 2xx responses an error can be hidden. The body of a 2xx response
// is read only if an Inspect covers it.
type Inspect struct {
	Status      int      // 0 = any 2xx
	Operations  []string // globs; empty = all
	ContentType string   // media type, prefix match; "" = any
	Max         int64    // the most bytes that are read; at most 1 MiB
}
