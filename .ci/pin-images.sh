#!/bin/sh
# Appends its digest to each image of others in docker-compose.yml (x-images) and Dockerfile (IMAGE), or renews it.
# A tag can move to other bytes; a digest cannot. Needs Docker with buildx, and the images' registries.
set -eu
cd "$(dirname "$0")/.."

pin() {
  file=$1
  shift
  for image in "$@"; do
    tag=${image%@*}
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$tag")
    case $digest in
      sha256:*) ;;
      *) echo "no digest of $tag: $digest" >&2; exit 1 ;;
    esac
    sed "s|$image\$|$tag@$digest|" "$file" >"$file.new"
    cat "$file.new" >"$file"
    rm "$file.new"
    echo "$tag@$digest"
  done
}

pin docker-compose.yml $(sed -n 's/^  [a-z]*: &[a-z]*-image //p' docker-compose.yml)
pin Dockerfile $(sed -n 's/^ARG IMAGE=//p' Dockerfile)
