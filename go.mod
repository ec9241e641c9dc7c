module github.com/berthd/berth

go 1.26

require (
	github.com/google/uuid v1.6.0 // indirect
	github.com/tidwall/btree v1.8.1 // indirect
)
