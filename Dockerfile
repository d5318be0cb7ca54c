FROM python:3.13-slim-bookworm AS build
ENV UV_LINK_MODE=copy
WORKDIR /app
COPY requirements-uv.txt requirements.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements-uv.txt \
    && uv venv /venv \
    && uv pip install --python /venv/bin/python --no-deps --require-hashes --compile-bytecode -r requirements.txt
COPY . .
RUN /venv/bin/python -m compileall -q config search agents conversations entities \
    && DEBUG=false ALLOWED_HOSTS=build SECRET_KEY=only-for-collecting-static-files-no-secret-at-all-in-here \
       DATABASE_URL=postgresql://build/build /venv/bin/python manage.py collectstatic --noinput -v0

FROM python:3.13-slim-bookworm
ARG GIT_COMMIT=""
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DEBUG=false HOST=0.0.0.0 GIT_COMMIT=$GIT_COMMIT
RUN groupadd --gid 10001 parley && useradd --uid 10001 --gid 10001 --no-log-init --create-home parley
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=build /app /app
RUN install -d -o parley -g parley /app/var
USER 10001:10001
EXPOSE 8000
CMD ["python", "manage.py", "web"]
