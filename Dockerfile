# Three images on one base, one for each program:
#   docker build --target order-food --build-arg VERSION=1.2.3 -t order-food:1.2.3 .
# What changes rarely stands first: after a change of code only two small layers are built anew.

# What they stand on. The tag is what a builder of any kind has; deploy.sh and `make release` give this digest of it, so that the
# same commit is the same image: docker.io/library/python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
ARG BASE=python:3.13-slim

# --- what production uses, as constraints.txt pins it; apart, what reads coupon files, which is as large as all the rest ---
FROM $BASE AS dependencies
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY setup.cfg pyproject.toml constraints.txt ./
RUN python -c "import configparser, tomllib; setup = configparser.ConfigParser(); setup.read('setup.cfg'); \
        print(setup['options']['install_requires'], file=open('run.txt', 'w')); \
        print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n', file=open('build.txt', 'w'))" \
    && grep -E '^(numpy|isal) ' run.txt >coupons.txt \
    && grep -vE '^(numpy|isal) ' run.txt >base.txt \
    && pip install --quiet --prefix /install --no-compile --constraint constraints.txt --requirement base.txt \
    && pip install --quiet --prefix /coupons --no-compile --no-deps --constraint constraints.txt --requirement coupons.txt \
    && pip install --quiet --requirement build.txt \
    && for prefix in /install /coupons; do \
        python -m compileall -q --invalidation-mode unchecked-hash -s $prefix -p /usr/local $prefix; done

# --- what is in an image, as CycloneDX: pip knows no folder of its own, but a venv may name one ---
FROM dependencies AS sbom
RUN python -m venv /tool && /tool/bin/pip install --quiet --constraint constraints.txt cyclonedx-bom \
    && for image in base load; do \
        python -m venv --without-pip /$image \
        && echo /install/lib/python3.13/site-packages >/$image/lib/python3.13/site-packages/image.pth \
        && if [ $image = load ]; then echo /coupons/lib/python3.13/site-packages >>/load/lib/python3.13/site-packages/image.pth; fi \
        && mkdir -p /sboms/$image/share/orderfood \
        && /tool/bin/cyclonedx-py environment --output-reproducible --output-file /sboms/$image/share/orderfood/sbom.cdx.json /$image \
        || exit 1; done

# --- the code; a path to the fixtures that does not hold Python's version; what `helm test` runs ---
FROM dependencies AS code
COPY . .
RUN pip install --quiet --prefix /code --no-compile --no-deps --no-index --no-build-isolation . \
    && python -m compileall -q --invalidation-mode unchecked-hash -s /code -p /usr/local /code \
    && mkdir -p /code/share/orderfood \
    && ln -s ../../lib/python3.13/site-packages/fixtures /code/share/orderfood/fixtures \
    && cp chart/shared/place_order.py /code/share/orderfood/

# --- what all three images are ---
FROM $BASE AS base
RUN pip uninstall --quiet --yes --root-user-action ignore pip \
    && rm -rf /usr/local/lib/python3.13/ensurepip /usr/share/python-wheels /root/.cache \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && useradd --no-log-init --uid 10001 --user-group --home-dir /data --create-home --shell /usr/sbin/nologin orderfood
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 FIXTURES_DIR=/usr/local/share/orderfood/fixtures
COPY --from=dependencies /install /usr/local
COPY --from=sbom /sboms/base /usr/local
COPY --from=code /code /usr/local
WORKDIR /data
USER 10001:10001
ARG VERSION=""
ARG REVISION=""
ENV SERVICE_VERSION=$VERSION
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim"

FROM base AS database-migration
LABEL org.opencontainers.image.title="database-migration" \
      org.opencontainers.image.description="Brings the schema of a food-ordering service up to date"
ENTRYPOINT ["database-migration"]

FROM base AS database-load
COPY --from=dependencies /coupons /usr/local
COPY --from=sbom /sboms/load /usr/local
LABEL org.opencontainers.image.title="database-load" \
      org.opencontainers.image.description="Swaps the reference data of a food-ordering service in one transaction"
ENTRYPOINT ["database-load"]

FROM base AS order-food
LABEL org.opencontainers.image.title="order-food" \
      org.opencontainers.image.description="A food-ordering service: menu, orders, coupons"
ENV HOST=0.0.0.0 PORT=8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=2)"]
ENTRYPOINT ["order-food"]
