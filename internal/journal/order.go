package journal

import (
	"sort"

	"github.com/berthd/berth/internal/store"
)

func sortByStart(rows []store.Row[Record]) {
	sort.Slice(rows, func(i, j int) bool { return rows[i].Value.Started.Before(rows[j].Value.Started) })
}
