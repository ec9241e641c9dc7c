package omitted

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemarksAreGatheredAndBounded(t *testing.T) {
	ctx, gathered := Gather(context.Background())
	one := Remark{Kind: "It lacks", Entity: "/1.0/images/x", Message: "all"}
	for range 3 {
		Say(context.WithoutCancel(ctx), one)
	}
	Say(context.Background(), Remark{Kind: "Another's"})
	if diff := cmp.Diff([]Remark{one}, gathered.List()); diff != "" {
		t.Error(diff)
	}
	for n := range 1000 {
		Say(ctx, Remark{Kind: fmt.Sprint(n), Message: "x"})
	}
	if n := len(gathered.List()); n != most {
		t.Errorf("%d of 1000 are kept", n)
	}
	if one.String() != "It lacks: all" {
		t.Error(one)
	}
}
