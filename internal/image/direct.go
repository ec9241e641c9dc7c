package image

import (
	"context"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
)

// PullURL gives the task that fetches a unified image from a web server.
func (s *Service) PullURL(address string, q Request) (*operation.Task, error) {
	if s.Remote == nil {
		return nil, api.NotImplemented("This server does not fetch images")
	}
	if address == "" {
		return nil, api.BadRequest("Missing URL")
	}
	return &operation.Task{
		Description: "Downloading image",
		Run: func(ctx context.Context, p operation.Progress) error {
			body, fingerprint, size, err := s.Remote.Direct(ctx, address, s.Architectures)
			if err != nil {
				return err
			}
			defer body.Close()
			r, err := s.ReceiveFile(ctx, q.Project, withProgress(body, size, p))
			if err != nil {
				return err
			}
			q.Fingerprint = fingerprint
			return s.importReceived(ctx, p, r, q)
		},
	}, nil
}
