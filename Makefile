# Needs Python 3.10 to 3.13, gcc and g++; everything else goes to .venv. See `make help`.
PYTHON ?=
TORCH ?= auto
VIDEO ?=
CAMERA ?=
CAMERA_INFO ?=
OUTPUT ?= output/demo
PYTEST_ARGS ?=
export PYTHON TORCH

# Any Python runs the bootstrap script; the script then looks for the right one.
PYTHON3 := $(or $(PYTHON),$(shell command -v python3))
BOOTSTRAP = $(or $(PYTHON3),$(error no python3 here: apt install python3 python3-venv)) tools/bootstrap.py
VENV_PYTHON := .venv/bin/python

# ROS 2 writes its log files below HOME; some CI machines have none.
ifeq ($(HOME),)
export ROS_LOG_DIR ?= $(CURDIR)/output/ros_log
endif

.PHONY: help demo test lint setup setup-test clean

help:
	@echo "make demo                the real node over real ROS 2 topics, on a short clip; results in $(OUTPUT)"
	@echo "make demo VIDEO=path     the same on your own video"
	@echo "make demo CAMERA=0       the same on your own camera (number or device)"
	@echo "     ... CAMERA_INFO=path  with its calibration (camera_calibration's YAML, or JSON)"
	@echo "make test                every test        (TORCH=0: without PyTorch; PYTEST_ARGS=...: for pytest)"
	@echo "make lint                ruff and mypy"
	@echo "make setup               only set .venv up (PYTHON=python3.12: with that Python)"
	@echo "make clean               remove .venv and what was built (not output/)"

demo: setup
	@$(VENV_PYTHON) -m pose3d_ros.ros.demo $(if $(VIDEO),--video "$(VIDEO)") $(if $(CAMERA),--camera "$(CAMERA)") \
	  $(if $(CAMERA_INFO),--camera-info "$(CAMERA_INFO)") --output "$(OUTPUT)"

test: setup-test
	@$(VENV_PYTHON) -m pytest $(PYTEST_ARGS)

lint: setup-test
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m mypy
	@$(VENV_PYTHON) -m mypy tools setup.py

setup:
	@$(BOOTSTRAP) run

setup-test:
	@$(BOOTSTRAP) test

clean:
	rm -rf .venv build install log .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
